"""Other programs that speak the OpenAI API, as they are used: LangChain, litellm, llm, and openai for Node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aichatfree.gateway import LocalGateway
from aichatfree.testing import Drop, Pause, Reply, ScriptedServer

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("default")]

TEXT = "Hello from the scripted server."
CUT = Reply(["Hel", "lo", Pause(0.05)], fault=Drop())
NODE_MODULES = os.environ.get("AICHATFREE_TEST_NODE_MODULES", "")
"""A folder `node_modules` with the package openai. This is of the tests, not of the library."""


@pytest.fixture
def locked(server: ScriptedServer) -> Iterator[LocalGateway]:
    with LocalGateway(base_url=server.url, api_key="k", max_retries=0) as running:
        yield running


class TestLangChain:
    @pytest.fixture(params=[False, True], ids=["chat", "responses"])
    def model(self, request: pytest.FixtureRequest, locked: LocalGateway) -> Any:
        langchain = pytest.importorskip("langchain_openai")
        return langchain.ChatOpenAI(
            base_url=locked.url, api_key="k", model="m", max_retries=0, temperature=0, use_responses_api=request.param
        )

    def test_whole(self, model: Any, server: ScriptedServer) -> None:
        assert model.invoke([("system", "Be brief."), ("human", "Hello")]).text == TEXT
        assert server.requests[0].prompt == "Be brief.\n\nHello"

    def test_streamed(self, model: Any, server: ScriptedServer) -> None:
        server.enqueue(Reply(["Kä", "se"], pause=0.05))
        assert "".join(chunk.text for chunk in model.stream("Hello")) == "Käse"

    def test_asynchronous(self, model: Any) -> None:
        async def ask() -> tuple[str, str]:
            streamed = "".join([chunk.text async for chunk in model.astream("Hello")])
            return (await model.ainvoke("Hello")).text, streamed

        assert asyncio.run(ask()) == (TEXT, TEXT)

    def test_failures(self, model: Any, server: ScriptedServer) -> None:
        openai = pytest.importorskip("openai")
        server.default = Reply.quota()
        with pytest.raises(openai.RateLimitError):
            model.invoke("Hello")
        server.default = CUT
        with pytest.raises(openai.APIStatusError):
            model.invoke("Hello")
        if not model.use_responses_api:
            with pytest.raises(openai.APIError, match="broke off"):
                list(model.stream("Hello"))


class TestLitellm:
    @pytest.fixture
    def litellm(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch a list of prices
        litellm: Any = pytest.importorskip("litellm")
        return litellm

    def options(self, gateway: LocalGateway) -> dict[str, Any]:
        messages = [{"role": "user", "content": "Hello"}]
        return {
            "model": "openai/m",
            "messages": messages,
            "api_base": gateway.url,
            "api_key": "k",
            "max_retries": 0,
            "num_retries": 0,
        }

    def test_whole(self, litellm: Any, locked: LocalGateway) -> None:
        assert litellm.completion(**self.options(locked)).choices[0].message.content == TEXT

    def test_streamed(self, litellm: Any, locked: LocalGateway, server: ScriptedServer) -> None:
        server.enqueue(Reply(["Kä", "se\u2028"], pause=0.05))
        chunks = list(litellm.completion(**self.options(locked), stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Käse\u2028"

    def test_failures(self, litellm: Any, locked: LocalGateway, server: ScriptedServer) -> None:
        server.default = Reply.quota()
        with pytest.raises(litellm.RateLimitError):
            litellm.completion(**self.options(locked))
        server.default = CUT
        with pytest.raises(Exception, match="broke off"):
            list(litellm.completion(**self.options(locked), stream=True))


@pytest.mark.skipif(find_spec("llm") is None, reason="llm is not installed")
class TestLlm:
    def run(self, locked: LocalGateway, home: Path, *args: str) -> subprocess.CompletedProcess[str]:
        # JSON is YAML.
        models = [{"model_id": "free", "model_name": "m", "api_base": locked.url, "api_key_name": "free"}]
        (home / "extra-openai-models.yaml").write_text(json.dumps(models))
        (home / "keys.json").write_text('{"free": "k"}')
        command = [sys.executable, "-m", "llm", "-m", "free", *args, "Hello"]
        environment = {**os.environ, "LLM_USER_PATH": str(home)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)

    @pytest.mark.parametrize("args", [(), ("--no-stream",)])
    def test_whole(self, locked: LocalGateway, tmp_path: Path, args: tuple[str, ...]) -> None:
        done = self.run(locked, tmp_path, *args)
        assert done.stdout.strip() == TEXT, done.stderr

    def test_a_failure(self, locked: LocalGateway, server: ScriptedServer, tmp_path: Path) -> None:
        server.default = CUT
        done = self.run(locked, tmp_path)
        assert done.returncode != 0
        assert "broke off" in done.stderr


SCRIPT = """
const OpenAI = require('openai').default ?? require('openai');
const client = new OpenAI({ baseURL: process.env.GATEWAY, apiKey: 'k', maxRetries: 0 });
const messages = [{ role: 'user', content: 'Hello' }];
async function caught(call) {
  try { await call(); return 'nothing'; }
  catch (error) { return `${error.constructor.name} ${error.status} ${error.code}`; }
}
(async () => {
  const found = {};
  const whole = await client.chat.completions.create({ model: 'm', messages });
  found.whole = whole.choices[0].message.content;
  found.streamed = '';
  for await (const chunk of await client.chat.completions.create({ model: 'm', messages, stream: true }))
    found.streamed += chunk.choices[0].delta.content ?? '';
  found.response = (await client.responses.create({ model: 'm', input: 'Hello' })).output_text;
  const stream = client.responses.stream({ model: 'm', input: 'Hello' });
  found.events = [];
  for await (const event of stream) found.events.push(event.type);
  found.final = (await stream.finalResponse()).output_text;
  found.tools = await caught(() => client.chat.completions.create({ model: 'm', messages, tools: [{}] }));
  found.quota = await caught(() => client.chat.completions.create({ model: 'm', messages }));
  found.cut = await caught(async () => {
    for await (const _ of await client.chat.completions.create({ model: 'm', messages, stream: true }));
  });
  console.log(JSON.stringify(found));
})();
"""


@pytest.mark.skipif(not NODE_MODULES or shutil.which("node") is None, reason="AICHATFREE_TEST_NODE_MODULES is not set")
def test_openai_for_node(locked: LocalGateway, server: ScriptedServer) -> None:
    server.enqueue(*[Reply(["Kä", "se"], pause=0.05)] * 4, Reply.quota(), CUT)
    environment = {**os.environ, "GATEWAY": locked.url, "NODE_PATH": NODE_MODULES}
    done = subprocess.run(
        ["node", "-e", SCRIPT], env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {found[name] for name in ("whole", "streamed", "response", "final")} == {"Käse"}
    assert found["events"][0] == "response.created"
    assert found["events"][-1] == "response.completed"
    assert found["tools"] == "BadRequestError 400 unsupported_parameter"
    assert found["quota"] == "RateLimitError 429 rate_limit_exceeded"
    assert found["cut"].startswith("APIError undefined reply_interrupted")
