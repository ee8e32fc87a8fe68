"""AIChatFree in the g4f package, asked through g4f's own client. Runs offline, against a server made here."""

import sys

from aichatfree import AIChatFree
from aichatfree.server import LocalServer

try:
    from g4f.client import Client
except ImportError:
    print("g4f is not installed; to run this example: pip install g4f")
    sys.exit()

with LocalServer() as server:
    client = Client(provider=AIChatFree.using(base_url=server.url))
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    for chunk in client.chat.completions.create(messages, "gemini-1.5-pro", stream=True):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
