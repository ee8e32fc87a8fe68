"""Ask, and print the reply as it arrives. A local server answers; leave base_url out for the hosted service."""

from aichatfree import Client
from aichatfree.server import LocalServer

with LocalServer() as server, Client(base_url=server.url) as client:
    for piece in client.stream("Hello, how are you?"):
        print(piece, end="", flush=True)
    print()
