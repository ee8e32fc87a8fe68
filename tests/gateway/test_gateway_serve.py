"""``aichatfree serve --gateway``: the server and the OpenAI API before it, on one port."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from cli.running import Command, complaint

from .kit import HELLO, error_of


@pytest.fixture
def aichatfree(tmp_path: Path) -> Command:
    return Command("http://127.0.0.1:9", tmp_path)


@contextmanager
def serving(command: Command, *args: str, **env: str) -> Iterator[str]:
    """The server's address."""
    with command.start("serve", "--gateway", "--port", "0", *args, env=env, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        try:
            yield re.findall(r"(http://127\.0\.0\.1:\d+)/v1", process.stderr.readline().decode())[0]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read().decode()


def chat(url: str, key: str = "none", *, stream: bool = False) -> requests.Response:
    body = {"model": "m", "messages": HELLO, "stream": stream}
    headers = {"Authorization": f"Bearer {key}"}
    return requests.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def test_both_on_one_port(aichatfree: Command) -> None:
    with serving(aichatfree, "--reply", "Käse") as url:
        assert chat(url).json()["choices"][0]["message"]["content"] == "Käse"
        assert chat(url, stream=True).text.endswith("data: [DONE]\n\n")
        error_of(requests.get(f"{url}/v1/nope", timeout=20), 404)
        assert requests.get(f"{url}/healthz", timeout=20).json() == {"status": "ok"}
        assert aichatfree("ask", "--base-url", url, "x").stdout == "Käse".encode()


def test_each_writes_its_own_line_in_the_log(aichatfree: Command) -> None:
    with aichatfree.start("serve", "--gateway", "--port", "0", "--reply", "Käse", stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        url = re.findall(r"(http://127\.0\.0\.1:\d+)/v1", process.stderr.readline().decode())[0]
        assert chat(url).status_code == 200
        assert requests.get(f"{url}/v1/private", timeout=20).status_code == 404
        process.send_signal(signal.SIGTERM)
        log = process.stderr.read().decode()
    lines = re.findall(r"^[-0-9]+T[:0-9]+Z (.*)$", log, re.MULTILINE)
    assert len(lines) == 3
    for begin in ("GET (no such path) 404 ", "POST /api/generate 200 ", "POST /v1/chat/completions 200 "):
        assert [line for line in lines if line.startswith(begin)], log


def test_both_are_counted_in_one_place(aichatfree: Command) -> None:
    with serving(aichatfree, "--reply", "x", "--metrics", AICHATFREE_GATEWAY_KEY="k") as url:
        assert chat(url, "k").status_code == 200
        text = requests.get(f"{url}/metrics", timeout=20).text
        for route in ("/v1/chat/completions", "/api/generate"):
            assert f'aichatfree_http_requests_total{{method="POST",route="{route}",status="200"}} 1.0' in text


def test_its_callers_need_the_gateways_key_and_no_site_password(aichatfree: Command) -> None:
    args = ("--reply", "Käse", "--password", "open,sesame", "--secret", "s3cret")
    with serving(aichatfree, *args, AICHATFREE_GATEWAY_KEY="k") as url:
        error_of(chat(url), 401)
        assert chat(url, "k").json()["choices"][0]["message"]["content"] == "Käse"
        assert requests.post(f"{url}/api/generate", data="{}", timeout=20).status_code != 200


def test_other_sites_are_refused_and_other_addresses_need_a_key(aichatfree: Command) -> None:
    with serving(aichatfree, "--reply", "x") as url:
        error_of(requests.get(f"{url}/v1/models", headers={"Host": "evil.example"}, timeout=20), 403)
    done = aichatfree("serve", "--gateway", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "AICHATFREE_GATEWAY_KEY" in complaint(done)
