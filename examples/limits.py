"""Time limits and retries: a server that first hangs, then is overloaded, then answers."""

from aichatfree import Client, RetryPolicy, Timeout
from aichatfree.testing import Reply, ScriptedServer, Stall

limits = Timeout(connect=5, first_byte=0.2, idle=10, total=60)
retry = RetryPolicy(max_retries=3, initial_delay=0.05)

with ScriptedServer() as server:
    server.enqueue(Reply("", fault=Stall("before-answer")), Reply.overloaded(), Reply("Here I am."))
    stream = Client(base_url=server.url, timeout=limits, retry=retry).stream("Hello")
    print(stream.until_done())
    print(stream.stats)
