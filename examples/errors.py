"""What to catch: nothing that arrived is lost, and every error says what to do."""

from aichatfree import AIChatFreeError, Client, RateLimitError, StreamInterruptedError
from aichatfree.testing import Drop, Reply, ScriptedServer

with ScriptedServer() as server:
    client = Client(base_url=server.url, max_retries=0)
    server.enqueue(Reply("The first half", fault=Drop("in-body")), Reply.quota(retry_in=58.8), Reply.overloaded())
    for _ in range(3):
        try:
            print(client.stream("Hello").until_done())
        except StreamInterruptedError as error:
            print(f"Broken off after {error.partial!r}: {error}")
        except RateLimitError as error:
            print(f"Wait {error.retry_after} s: {error}")
        except AIChatFreeError as error:
            print(f"{type(error).__name__}: {error}")
