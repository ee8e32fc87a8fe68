"""Many prompts, some at once; one that fails stops no other."""

from aichatfree import Client
from aichatfree.server import LocalServer

prompts = [f"Question {number}" for number in range(5)]

with LocalServer(reply=lambda contents: "Answer to " + contents[-1]["parts"][0]["text"]) as server:
    for result in Client(base_url=server.url).map([*prompts, ""], concurrency=3):
        print(result.index, result.text or result.error)
