"""What LangChain's standard suite does not ask: our errors, secrets, stop sequences, pace, and clear refusals."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import ValidationError

from aichatfree import AsyncClient, Client
from aichatfree.errors import InvalidPasswordError, InvalidRequestError, RateLimitError, StreamInterruptedError
from aichatfree.integrations._langchain_text import StopSequences
from aichatfree.integrations.langchain import ChatAIChatFree
from aichatfree.server import LocalServer
from aichatfree.testing import Drop, Reply, ScriptedServer


def ask(model: ChatAIChatFree, way: str, prompt: Any, **kwargs: Any) -> str:
    """The text of a reply, obtained in one of the four ways."""

    async def astream() -> str:
        return "".join([chunk.text async for chunk in model.astream(prompt, **kwargs)])

    if way == "invoke":
        return model.invoke(prompt, **kwargs).text
    if way == "stream":
        return "".join(chunk.text for chunk in model.stream(prompt, **kwargs))
    if way == "ainvoke":
        return asyncio.run(model.ainvoke(prompt, **kwargs)).text
    return asyncio.run(astream())


every_way = pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])


class TestMessages:
    @every_way
    def test_a_history_arrives_as_it_is(self, echo: LocalServer, way: str) -> None:
        history = [
            SystemMessage("Sys."),
            HumanMessage([{"type": "text", "text": "On"}, "e"]),
            AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "1"}]),
            ChatMessage(role="human", content="Two"),
        ]
        assert ask(ChatAIChatFree(base_url=echo.url), way, history) == "user: Sys.\n\nOne | model: 1 | user: Two"

    @every_way
    @pytest.mark.parametrize(
        ("messages", "word"),
        [
            ([HumanMessage([{"type": "image_url", "image_url": {"url": "data:"}}])], "'image_url'"),
            ([HumanMessage("x"), ToolMessage("42", tool_call_id="1"), HumanMessage("y")], "ToolMessage"),
            (
                [HumanMessage("x"), AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), HumanMessage("")],
                "calls a tool",
            ),
            ([HumanMessage("x"), AIMessage("y")], "user message"),
            ([ChatMessage(role="judge", content="x")], "judge"),
        ],
    )
    def test_what_cannot_be_carried_is_refused_before_anything_is_sent(
        self, messages: list[Any], word: str, way: str
    ) -> None:
        with ScriptedServer() as server:
            with pytest.raises(InvalidRequestError, match=word):
                ask(ChatAIChatFree(base_url=server.url), way, messages)
            assert not server.requests

    @pytest.mark.parametrize("kwargs", [{"tools": [{"name": "f"}]}, {"response_format": {"type": "json"}}, {"odd": 1}])
    def test_a_keyword_that_would_change_the_meaning_is_refused(self, kwargs: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequestError, match=next(iter(kwargs))):
            ChatAIChatFree(base_url="http://127.0.0.1:9").invoke("Hi", **kwargs)

    def test_tools_and_structured_output_are_refused_as_langchain_does(self) -> None:
        model = ChatAIChatFree(base_url="http://127.0.0.1:9")
        with pytest.raises(NotImplementedError):
            model.bind_tools([])
        with pytest.raises(NotImplementedError):
            model.with_structured_output({"title": "T", "type": "object", "properties": {}})

    @pytest.mark.parametrize("name", ["temperature", "max_tokens"])
    def test_what_only_tunes_is_warned_of(self, echo: LocalServer, name: str) -> None:
        with pytest.warns(UserWarning, match=f"{name}: the protocol cannot carry this"):
            ChatAIChatFree(base_url=echo.url, **{name: 1})
        with pytest.warns(UserWarning, match=name):
            assert ChatAIChatFree(base_url=echo.url).invoke("Hi", **{name: 1}).text == "user: Hi"

    def test_an_unknown_option_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="pasword"):
            ChatAIChatFree(pasword="geheim")

    def test_in_a_chain(self, echo: LocalServer) -> None:
        prompt = ChatPromptTemplate.from_messages([("system", "Be {how}."), ("human", "{question}")])
        chain = prompt | ChatAIChatFree(base_url=echo.url)
        assert chain.invoke({"how": "brief", "question": "Why?"}).text == "user: Be brief.\n\nWhy?"


class TestReplies:
    def test_metadata_says_what_the_call_took(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply.overloaded(), Reply("whole"), Reply("whole"))
            model = ChatAIChatFree(base_url=server.url, model="label")
            *_, last = model.stream("Hi")
            assert last.response_metadata["attempts"] == 2
            assert last.response_metadata["model_provider"] == "aichatfree"
            assert model.invoke("Hi", model="other").response_metadata["model_name"] == "other"

    def test_callbacks_see_every_piece_and_errors(self, echo: LocalServer) -> None:
        class Seen(BaseCallbackHandler):
            text, errors = "", 0

            def on_llm_new_token(self, token: str, **_: Any) -> None:
                self.text += token

            def on_llm_error(self, error: BaseException, **_: Any) -> None:
                self.errors += isinstance(error, InvalidPasswordError)

        seen = Seen()
        ask(ChatAIChatFree(base_url=echo.url), "stream", "Hi", config={"callbacks": [seen]})
        assert seen.text == "user: Hi"
        with LocalServer(password="open sesame") as server, pytest.raises(InvalidPasswordError):
            ChatAIChatFree(base_url=server.url).invoke("Hi", config={"callbacks": [seen]})
        assert seen.errors == 1

    @every_way
    def test_errors_are_ours(self, way: str) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply("half", fault=Drop("in-body")))
            with pytest.raises(StreamInterruptedError) as caught:
                ask(ChatAIChatFree(base_url=server.url, max_retries=0), way, "Hi")
            assert caught.value.partial == "half"

    @pytest.mark.parametrize("way", ["invoke", "ainvoke"])
    def test_invoke_asks_again_where_a_reply_broke_off(self, way: str) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply("half", fault=Drop("in-body")), Reply("whole"))
            assert ask(ChatAIChatFree(base_url=server.url, max_retries=1), way, "Hi") == "whole"

    def test_leaving_a_stream_closes_its_connection(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply(["one", "two"], pause=30))
            stream = ChatAIChatFree(base_url=server.url).stream("Hi")
            assert next(stream).text == "one"
            stream.close()  # type: ignore[attr-defined]

    def test_a_limit(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply(["one", "two"], pause=30))
            with pytest.raises(Exception, match="total") as caught:
                ChatAIChatFree(base_url=server.url, total_timeout=0.2, timeout=20).invoke("Hi")
            assert caught.value.phase == "total"  # type: ignore[attr-defined]


class TestStop:
    @every_way
    @pytest.mark.parametrize("pieces", [["one END two"], ["one E", "N", "D two"], list("one END two")])
    def test_the_reply_ends_before_it(self, way: str, pieces: list[str]) -> None:
        with LocalServer(reply=pieces) as server:
            model = ChatAIChatFree(base_url=server.url, stop=["END"])
            assert ask(model, way, "Hi") == "one "
            assert ask(model, way, "Hi", stop=["two"]) == "one END "
            assert ask(model, way, "Hi", stop=[]) == "one END two"

    def test_it_does_not_wait_for_the_rest(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply(["one END", "two"], pause=30))
            message = ChatAIChatFree(base_url=server.url).invoke("Hi", stop=["END"])
        assert (message.text, message.response_metadata["finish_reason"]) == ("one ", "stop")

    @pytest.mark.parametrize("stop", [[""], [3], "END"])
    def test_what_is_no_list_of_texts_is_refused(self, stop: Any) -> None:
        with pytest.raises(InvalidRequestError, match="stop"):
            ChatAIChatFree(base_url="http://127.0.0.1:9").invoke("Hi", stop=stop)

    @pytest.mark.parametrize(
        ("stops", "text", "kept"),
        [
            (["abcd", "c"], "xabcd", "x"),
            (["abcd", "c"], "xabce", "xab"),
            (["aab"], "aaab", "a"),
            (["ab"], "xa", "xa"),
            (["é\u0301"], "ae\u0301é\u0301z", "ae\u0301"),
            ([], "all", "all"),
        ],
    )
    @pytest.mark.parametrize("size", [1, 2, 3, 99])
    def test_the_first_one_wins_however_the_text_is_split(
        self, stops: list[str], text: str, kept: str, size: int
    ) -> None:
        found, out = StopSequences(stops), ""
        for at in range(0, len(text), size):
            out += found.feed(text[at : at + size])
            if found.reached:
                break
        assert out + found.flush() == kept


class TestSecrets:
    def test_none_is_shown_or_serialized(self) -> None:
        model = ChatAIChatFree(base_url="http://127.0.0.1:9", password="geheim", secret="s3cret")
        described = model.asdict() if hasattr(model, "asdict") else model.dict()
        shown = f"{model!r} {model} {dumps(model)} {model.model_dump(mode='json')} {described}"
        assert "geheim" not in shown
        assert "s3cret" not in shown

    @pytest.mark.filterwarnings("ignore:The function `load` is in beta")
    def test_a_loaded_model_takes_them_from_where_it_is_told(self) -> None:
        with LocalServer(reply="In.", password="geheim") as server:
            stored = dumpd(ChatAIChatFree(base_url=server.url, password="geheim"))
            options: dict[str, Any] = {"secrets_map": {"AICHATFREE_PASSWORD": "geheim"}}
            if "allowed_objects" in inspect.signature(load).parameters:
                options["allowed_objects"] = [ChatAIChatFree]
            loaded = load(stored, valid_namespaces=["aichatfree"], **options)
            assert loaded.invoke("Hi").text == "In."

    def test_a_url_with_a_password_is_refused_without_showing_it(self) -> None:
        for name in ("base_url", "proxy"):
            with pytest.raises(ValidationError, match="would appear in traces") as caught:
                ChatAIChatFree(password="geheim", **{name: "http://user:geheim@127.0.0.1"})
            assert "geheim" not in str(caught.value)

    def test_a_bad_value_is_refused_when_the_model_is_made_without_showing_secrets(self) -> None:
        with pytest.raises(ValidationError, match="base_url") as caught:
            ChatAIChatFree(base_url="ftp://x", password="geheim")
        assert "geheim" not in str(caught.value)

    def test_a_model_can_be_pickled(self, echo: LocalServer) -> None:
        model = pickle.loads(pickle.dumps(ChatAIChatFree(base_url=echo.url)))
        assert model.invoke("Hi").text == "user: Hi"


class TestPace:
    @pytest.mark.parametrize("asynchronous", [False, True])
    @pytest.mark.parametrize("config", [None, {"max_concurrency": 3}, [{"max_concurrency": 3}] * 9])
    def test_a_batch_is_bounded(self, asynchronous: bool, config: Any) -> None:
        together = threading.Barrier(3)  # breaks unless three are inside at once
        inside, most, lock = 0, 0, threading.Lock()

        def reply(_: object) -> str:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait(20)
            with lock:
                inside -= 1
            return "ok"

        with LocalServer(reply=reply) as server:
            model = ChatAIChatFree(base_url=server.url, max_concurrency=3)
            prompts = [str(number) for number in range(9)]
            replies = asyncio.run(model.abatch(prompts, config)) if asynchronous else model.batch(prompts, config)
        assert [message.text for message in replies] == ["ok"] * 9
        assert most == 3

    def test_as_completed_too(self, echo: LocalServer) -> None:
        async def main(model: ChatAIChatFree) -> list[tuple[int, str]]:
            return sorted([(index, message.text) async for index, message in model.abatch_as_completed(["a", "b"])])

        model = ChatAIChatFree(base_url=echo.url, max_concurrency=1)
        expected = [(0, "user: a"), (1, "user: b")]
        assert sorted((index, message.text) for index, message in model.batch_as_completed(["a", "b"])) == expected
        assert asyncio.run(main(model)) == expected

    def test_a_failure_stops_no_other(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply("one"), Reply.quota(), Reply("three"))
            model = ChatAIChatFree(base_url=server.url, max_retries=0)
            one, two, three = model.batch(["1", "2", "3"], {"max_concurrency": 1}, return_exceptions=True)
        assert (one.text, type(two), three.text) == ("one", RateLimitError, "three")

    def test_max_rate_is_a_rate_limiter(self, echo: LocalServer) -> None:
        model = ChatAIChatFree(base_url=echo.url, max_rate=60)
        assert model.rate_limiter is not None
        assert model.rate_limiter.acquire(blocking=True)
        assert not model.rate_limiter.acquire(blocking=False)  # none is left for the next second


class TestClients:
    @every_way
    def test_one_of_your_own_serves_every_way(self, echo: LocalServer, way: str) -> None:
        with Client(base_url=echo.url) as client:
            assert ask(ChatAIChatFree(client=client), way, "Hi") == "user: Hi"

    def test_callbacks_see_each_piece_once(self, echo: LocalServer) -> None:
        class Seen(BaseCallbackHandler):
            text = ""

            def on_llm_new_token(self, token: str, **_: Any) -> None:
                self.text += token

        seen = Seen()
        with Client(base_url=echo.url) as client:
            ask(ChatAIChatFree(client=client), "astream", "Hi", config={"callbacks": [seen]})
        assert seen.text == "user: Hi"

    def test_an_async_one_alone_serves_the_async_ways(self, echo: LocalServer) -> None:
        model = ChatAIChatFree(async_client=AsyncClient(base_url=echo.url))
        assert ask(model, "ainvoke", "Hi") == "user: Hi"
        with pytest.raises(InvalidRequestError, match="async_client only"):
            model.invoke("Hi")
