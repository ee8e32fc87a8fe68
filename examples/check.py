"""Find out what is wrong with a server, or with what you know of it."""

from aichatfree import Client
from aichatfree.server import LocalServer

with LocalServer(secret="s3cret") as server:
    print(Client(base_url=server.url, secret="s3cret").check())
    print(Client(base_url=server.url, secret="wrong").check())
