"""Send a history: a system message and earlier turns. The server sees what a browser would have sent."""

from aichatfree import Client, Message
from aichatfree.server import LocalServer

history = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    Message("user", "And of Japan?"),
]

with LocalServer(reply=lambda contents: f"{len(contents)} messages arrived.") as server:
    print(Client(base_url=server.url).generate(history))
