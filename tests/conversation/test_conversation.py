"""Conversations over a loopback server, each case with both clients."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from typing import Any

import pytest

from aichatfree import (
    AIChatFreeError,
    AsyncStream,
    InvalidRequestError,
    Message,
    OverloadedError,
    Stream,
    StreamInterruptedError,
)
from aichatfree._async.conversation import AsyncConversation
from aichatfree._sync.conversation import Conversation
from aichatfree.testing import Drop, Pause, RecordedRequest, Reply, ScriptedServer


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def echo(request: RecordedRequest) -> Reply:
    return Reply([f"re: {request.contents[-1]['parts'][0]['text']}"])


@pytest.fixture
def server() -> Any:
    with ScriptedServer() as running:
        running.default = echo
        yield running


@pytest.fixture
def client(face: Any, server: ScriptedServer) -> Any:
    return face.client(server, max_retries=0)


def begin(face: Any, stream: Any) -> str:
    """Read the first piece of a stream."""
    return str(face.wait(anext(stream)) if face.is_async else next(stream))


def close(face: Any, stream: Any) -> None:
    face.wait(stream.aclose()) if face.is_async else stream.close()


def retry(face: Any, conversation: Any) -> str:
    return str(face.wait(conversation.retry()) if face.is_async else conversation.retry())


def sent(server: ScriptedServer) -> list[tuple[str, str]]:
    """The roles and texts of the last request."""
    return [(content["role"], content["parts"][0]["text"]) for content in server.requests[-1].contents]


def test_turns_join_the_history_and_go_along_with_the_next(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation("Be brief.")
    assert conversation.messages == (Message("system", "Be brief."),)
    assert face.generate(conversation, "one") == "re: Be brief.\n\none"
    outcome = face.stream(conversation, "two")
    assert outcome.text == outcome.stream.text == "re: two"
    assert sent(server) == [
        ("user", "Be brief.\n\none"),
        ("model", "re: Be brief.\n\none"),
        ("user", "two"),
    ]
    assert conversation.messages == (
        Message("system", "Be brief."),
        user("one"),
        assistant("re: Be brief.\n\none"),
        user("two"),
        assistant("re: two"),
    )
    assert conversation.unanswered is None


def test_the_stream_of_a_turn_is_an_ordinary_stream(face: Any, client: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Hel", "lo"]))
    outcome = face.stream(client.conversation(), "hi", model="label", timeout=5)
    assert type(outcome.stream) is (AsyncStream if face.is_async else Stream)
    assert (outcome.stream.model, outcome.stream.status_code, outcome.stream.stats.attempts) == ("label", 200, 1)
    assert repr(outcome.stream).endswith("whole, 5 characters>")


def test_history_and_system_given_at_the_start(face: Any, client: Any, server: ScriptedServer) -> None:
    history = [{"role": "user", "content": "a"}, {"role": "model", "parts": [{"text": "b"}, {"text": "c"}]}]
    conversation = client.conversation(history=history)
    assert conversation.messages == (user("a"), assistant("bc"))
    again = client.conversation(history=client.conversation("Be brief.", history).messages)
    assert again.system == "Be brief."
    face.generate(again, "d")
    assert sent(server) == [("user", "Be brief.\n\na"), ("model", "bc"), ("user", "d")]


@pytest.mark.parametrize("on_interrupt", ["discard", "keep"])
@pytest.mark.parametrize("how", ["error", "close", "drop"])
def test_an_interrupted_turn(face: Any, client: Any, server: ScriptedServer, on_interrupt: str, how: str) -> None:
    conversation = client.conversation(on_interrupt=on_interrupt)
    face.generate(conversation, "one")
    before = conversation.messages
    if how == "error":
        server.enqueue(Reply("half", fault=Drop("in-body")))
        outcome = face.stream(conversation, "two")
        assert isinstance(outcome.error, StreamInterruptedError)
        assert outcome.error.partial == "half"
    else:
        server.enqueue(Reply(["half", Pause(None)]))
        stream = conversation.stream("two")
        assert begin(face, stream) == "half"
        assert conversation.messages == before
        if how == "close":
            close(face, stream)
        del stream
        gc.collect()
    if on_interrupt == "keep":
        assert conversation.messages == (*before, user("two"), assistant("half"))
        assert conversation.unanswered is None
    else:
        assert conversation.messages == before
        assert conversation.unanswered == "two"
    assert face.generate(conversation, "three") == "re: three"
    assert len(server.requests) == 3


@pytest.mark.parametrize("on_interrupt", ["discard", "keep"])
def test_a_turn_without_any_text_leaves_no_trace(
    face: Any, client: Any, server: ScriptedServer, on_interrupt: str
) -> None:
    conversation = client.conversation(on_interrupt=on_interrupt)
    server.enqueue(Reply.overloaded())
    with pytest.raises(OverloadedError):
        face.generate(conversation, "one")
    assert conversation.messages == ()
    assert conversation.unanswered == "one"
    assert face.generate(conversation, "two") == "re: two"
    assert conversation.messages == (user("two"), assistant("re: two"))
    assert conversation.unanswered is None


def test_a_reply_not_read_to_its_end_is_interrupted(face: Any, client: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("all of it"))
    conversation = client.conversation()
    stream = conversation.stream("one")
    assert begin(face, stream) == "all of it"
    close(face, stream)
    assert conversation.messages == ()


def test_generate_starts_over_after_a_cut(face: Any, server: ScriptedServer) -> None:
    client = face.client(server, max_retries=1)
    conversation = client.conversation(on_interrupt="keep")
    server.enqueue(Reply("half", fault=Drop("in-body")))
    assert face.generate(conversation, "one") == "re: one"
    assert conversation.messages == (user("one"), assistant("re: one"))


def test_while_a_stream_is_open_nothing_else_is_done(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation("s")
    face.generate(conversation, "one")
    server.enqueue(Reply(["half", Pause(None)]))
    stream = conversation.stream("two")
    begin(face, stream)

    def set_system() -> None:
        conversation.system = "t"

    refused = [lambda: conversation.stream("x"), conversation.retry_stream, conversation.undo, conversation.clear]
    for action in (*refused, set_system, lambda: face.generate(conversation, "x"), lambda: retry(face, conversation)):
        with pytest.raises(InvalidRequestError, match="still coming: read its stream to the end, or close it"):
            action()
    assert len(server.requests) == 2
    assert len(conversation.messages) == 3
    close(face, stream)
    assert face.generate(conversation, "three") == "re: three"


def test_a_stream_that_was_not_begun_holds_nobody_up(face: Any, client: Any) -> None:
    conversation = client.conversation()
    waiting = conversation.stream("one")
    assert face.generate(conversation, "two") == "re: two"
    with pytest.raises(InvalidRequestError, match="has changed since this stream was made"):
        begin(face, waiting)
    with pytest.raises(InvalidRequestError, match="has changed since this stream was made"):
        begin(face, waiting)
    assert conversation.messages == (user("two"), assistant("re: two"))


def test_of_two_streams_made_at_once_the_first_to_begin_goes_on(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation()
    one, two = conversation.stream("one"), conversation.stream("two")
    server.enqueue(Reply(["half", Pause(None)]))
    begin(face, two)
    with pytest.raises(InvalidRequestError, match="still coming"):
        begin(face, one)
    close(face, two)
    assert begin(face, one) == "re: one"  # two has left nothing behind, so that one still fits


def test_a_stream_closed_before_it_began_asks_nothing(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation()
    stream = conversation.stream("one")
    close(face, stream)
    with pytest.raises(StreamInterruptedError):
        face.run(stream.until_done, stream.until_done)
    assert (conversation.messages, conversation.unanswered, server.requests) == ((), None, [])


def test_undo_takes_the_last_turn_back(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation("s")
    face.generate(conversation, "one")
    face.generate(conversation, "two")
    turn = conversation.undo()
    assert (turn.user, turn.assistant) == tuple(turn) == (user("two"), assistant("re: two"))
    assert conversation.messages[1:] == (user("one"), assistant("re: s\n\none"))
    conversation.undo()
    with pytest.raises(InvalidRequestError, match="no turn to undo"):
        conversation.undo()
    assert conversation.messages == (Message("system", "s"),)
    face.generate(conversation, "three")
    assert sent(server) == [("user", "s\n\nthree")]


def test_retry_replaces_the_reply_when_the_new_one_is_whole(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation(on_interrupt="keep")
    face.generate(conversation, "one")
    face.generate(conversation, "two")
    before = conversation.messages
    server.enqueue(Reply.overloaded(), Reply("half", fault=Drop("in-body")))
    server.enqueue(Reply("better"), Reply(["even ", "better"]))
    for _ in range(2):
        with pytest.raises(AIChatFreeError):
            retry(face, conversation)
        assert conversation.messages == before
        assert conversation.unanswered is None
    assert retry(face, conversation) == "better"
    assert sent(server) == [("user", "one"), ("model", "re: one"), ("user", "two")]
    assert conversation.messages == (*before[:-1], assistant("better"))
    stream = conversation.retry_stream()
    assert face.run(stream.until_done, stream.until_done) == "even better"
    assert conversation.messages == (*before[:-1], assistant("even better"))


def test_retry_asks_what_was_asked_last_and_not_answered(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation()
    face.generate(conversation, "one")
    server.enqueue(Reply.overloaded(), Reply.overloaded())
    for action in (lambda: face.generate(conversation, "two"), lambda: retry(face, conversation)):
        with pytest.raises(OverloadedError):
            action()
        assert conversation.unanswered == "two"
    assert retry(face, conversation) == "re: two"
    assert conversation.unanswered is None
    assert [message.content for message in conversation.messages] == ["one", "re: one", "two", "re: two"]


def test_retry_of_a_kept_part_replaces_it(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation(on_interrupt="keep")
    server.enqueue(Reply("half", fault=Drop("in-body")))
    face.stream(conversation, "one")
    assert retry(face, conversation) == "re: one"
    assert conversation.messages == (user("one"), assistant("re: one"))


def test_there_is_nothing_to_retry(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation()
    with pytest.raises(InvalidRequestError, match="no turn to retry"):
        retry(face, conversation)
    server.enqueue(Reply.overloaded())
    face.stream(conversation, "one")
    conversation.clear()
    with pytest.raises(InvalidRequestError, match="no turn to retry"):
        retry(face, conversation)


def test_clear_and_a_new_system_message(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation("s")
    face.generate(conversation, "one")
    conversation.system = "t"
    face.generate(conversation, "two")
    assert sent(server)[0] == ("user", "t\n\none")
    conversation.clear()
    assert conversation.messages == (Message("system", "t"),)
    conversation.system = ""
    assert conversation.system is None
    assert conversation.messages == ()


def test_trimming_in_what_is_kept_and_what_is_sent(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation("s", max_messages=5)
    for number in range(5):
        face.generate(conversation, str(number))
        assert len(server.requests[-1].contents) <= 5
    assert [text for _, text in sent(server)] == ["s\n\n2", "re: 2", "3", "re: 3", "4"]
    assert [message.content for message in conversation.messages] == ["s", "3", "re: 3", "4", "re: 4"]


@pytest.mark.parametrize(
    ("text", "words"), [("", "the text is empty"), (None, "of type NoneType"), ([user("a")], "belongs in history=")]
)
def test_bad_questions_are_refused_before_anything_is_sent(
    face: Any, client: Any, server: ScriptedServer, text: Any, words: str
) -> None:
    conversation = client.conversation()
    with pytest.raises(InvalidRequestError, match=words):
        conversation.stream(text)
    with pytest.raises(InvalidRequestError, match=words):
        face.generate(conversation, text)
    with pytest.raises(InvalidRequestError, match="model is of type int"):
        conversation.stream("a", model=3)
    assert (server.requests, conversation.unanswered) == ([], None)
    assert face.generate(conversation, "one") == "re: one"


def test_a_closed_client_is_refused_and_holds_nothing_up(face: Any, client: Any) -> None:
    conversation = client.conversation()
    stream = conversation.stream("one")
    face.close(client)
    for _ in range(2):
        with pytest.raises(StreamInterruptedError, match="closed"):
            begin(face, stream)
    with pytest.raises(InvalidRequestError, match="client is closed"):
        conversation.stream("one")
    assert conversation.messages == ()


def test_copies_and_pickles_go_their_own_way(face: Any, client: Any, server: ScriptedServer) -> None:
    conversation = client.conversation("s", max_messages=7, on_interrupt="keep")
    face.generate(conversation, "one")
    server.enqueue(Reply.overloaded())
    face.stream(conversation, "two")
    shallow, deep = copy.copy(conversation), copy.deepcopy(conversation)
    pickled = pickle.loads(pickle.dumps(conversation))
    for other in (shallow, deep, pickled):
        assert type(other) is type(conversation)
        assert other.to_dict() == conversation.to_dict()
        assert other.unanswered == "two"
    assert shallow._client is deep._client is client
    assert pickled._client.base_url == client.base_url
    shallow.clear()
    assert len(conversation.messages) == 3
    assert retry(face, deep) == "re: two"
    assert len(conversation.messages) == 3
    assert retry(face, pickled) == "re: two"
    face.close(pickled._client)


def test_the_repr_is_short_and_shows_no_text(face: Any, server: ScriptedServer) -> None:
    conversation = face.client(server, password="hunter2").conversation("private")
    name = "AsyncConversation" if face.is_async else "Conversation"
    assert repr(conversation) == f"<{name} with 1 message on {server.url}>"
    conversation.system = None
    assert repr(conversation) == f"<{name} with 0 messages on {server.url}>"


def test_the_wrong_kind_of_client_is_refused(face: Any, client: Any) -> None:
    wrong = Conversation if face.is_async else AsyncConversation
    with pytest.raises(InvalidRequestError, match=r"client is of type .*Client: .*Conversation needs .*Client"):
        wrong.from_dict(client.conversation().to_dict(), client=client)
    with pytest.raises(InvalidRequestError, match="client is of type NoneType"):
        Conversation(None)  # type: ignore[arg-type]


def test_one_turn_at_a_time_among_tasks(server: ScriptedServer) -> None:
    from aichatfree import AsyncClient

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            conversation = client.conversation()
            outcomes = await asyncio.gather(*(conversation.generate(str(n)) for n in range(5)), return_exceptions=True)
            refused = [outcome for outcome in outcomes if isinstance(outcome, InvalidRequestError)]
            assert len(refused) == 4
            assert len(conversation.messages) == 2

    asyncio.run(main())


def test_a_cancelled_turn_frees_the_conversation_at_once(server: ScriptedServer) -> None:
    from aichatfree import AsyncClient

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            conversation = client.conversation(on_interrupt="keep")
            server.enqueue(Reply(["half", Pause(None)]))
            asking = asyncio.create_task(conversation.generate("one"))
            await asyncio.to_thread(server.wait_requests, 1)
            while not (conversation._running and conversation._running.call.text):
                await asyncio.sleep(0.005)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert conversation.messages == (user("one"), assistant("half"))
            assert await conversation.generate("two") == "re: two"

    asyncio.run(main())
