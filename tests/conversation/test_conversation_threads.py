"""One conversation in the hands of many threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aichatfree import Client, InvalidRequestError, StreamInterruptedError
from aichatfree.testing import Pause, Reply, ScriptedServer


def test_turns_never_mix(server: ScriptedServer) -> None:
    server.default = lambda request: Reply([request.prompt, Pause(0.002), "!"])
    with Client(server.url) as client:
        conversation = client.conversation(max_messages=None)

        def ask(name: str) -> bool:
            try:
                assert conversation.generate(name) == f"{name}!"
            except InvalidRequestError as error:
                assert "still coming" in str(error) or "has changed" in str(error)
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            answered = list(pool.map(ask, [f"question {number}" for number in range(200)]))
        assert any(answered)
        messages = conversation.messages
        assert len(messages) == 2 * sum(answered)
        assert len(server.requests) == sum(answered)
        for question, reply in zip(messages[::2], messages[1::2], strict=True):
            assert (question.role, reply.role, reply.content) == ("user", "assistant", f"{question.content}!")


def test_closing_from_another_thread_frees_the_conversation(server: ScriptedServer) -> None:
    with Client(server.url) as client:
        conversation = client.conversation()
        server.enqueue(Reply(["half", Pause(None)]))
        stream = conversation.stream("one")
        arrived = threading.Event()
        errors = []

        def read() -> None:
            try:
                for _ in stream:
                    arrived.set()
            except StreamInterruptedError as error:
                errors.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        assert arrived.wait(10)
        with pytest.raises(InvalidRequestError, match="still coming"):
            conversation.generate("two")
        stream.close()
        server.enqueue(Reply("whole"))
        assert conversation.generate("two") == "whole"
        reader.join(10)
        assert [error.partial for error in errors] == ["half"]
        assert [message.content for message in conversation.messages] == ["two", "whole"]


IN_A_HANDLER = """
import faulthandler, signal, time
from aichatfree import InvalidRequestError, Client
from aichatfree.testing import MemoryTransport
from aichatfree._core.history import History
faulthandler.dump_traceback_later(30, exit=True)
then = History.then

def interrupted(*args):
    signal.raise_signal(signal.SIGTERM)  # amid the step that draws the line under a turn
    return then(*args)

def handler(*_):
    for use in (lambda: talk.generate("handler"), lambda: talk.messages, talk.undo, talk.clear, talk.to_dict):
        try:
            use()
        except InvalidRequestError as error:
            refused.append(str(error))

refused = []
signal.signal(signal.SIGTERM, handler)
talk = Client(transport=MemoryTransport(), trust_env=False).conversation()
talk.generate("program")
History.then = interrupted
assert len(talk.messages) == 2, talk.messages
assert len(refused) == 5 and all("signal handler" in text for text in refused), refused
talk.generate("program")
History.then = then
assert len(talk.messages) == 4, talk.messages
"""


def test_a_signal_handler_amid_a_step() -> None:
    """It would wait for what it interrupts: it is refused instead."""
    done = subprocess.run([sys.executable, "-c", IN_A_HANDLER], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
