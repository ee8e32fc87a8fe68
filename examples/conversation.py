"""A conversation that remembers, undoes, and can be saved and taken up again."""

import tempfile
from pathlib import Path

from aichatfree import Client, Conversation
from aichatfree.server import LocalServer

with LocalServer() as server, tempfile.TemporaryDirectory() as folder:
    client = Client(base_url=server.url)
    conversation = client.conversation(system="Be brief.")
    print(conversation.generate("Hello!"))
    for piece in conversation.stream("And again?"):
        print(piece, end="", flush=True)
    print()
    conversation.undo()
    path = Path(folder, "chat.json")
    conversation.save(path)
    print(*Conversation.load(path, client=client).messages, sep="\n")
