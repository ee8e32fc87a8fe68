"""``aichatfree serve`` and ``demo``: a server to try things with."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .running import Command, complaint


@contextmanager
def serving(command: Command, *args: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """A server in the foreground: its URL, and what it said first. It ends by Ctrl-C."""
    with command.start("serve", "--port", "0", *args, env=env, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        try:
            said = ""
            while "Ask it with" not in said and (line := process.stderr.readline().decode()):
                said += line
            yield re.findall(r"http://127\.0\.0\.1:\d+", said)[0], said
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        *log, last = process.stderr.read().decode().splitlines()
        assert last == "Stopped."
        assert all(re.fullmatch(LOG_LINE, line) for line in log), log


def get(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


LOG_LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ /\S* \d{3} \d+\.\d{3}s \d+ pieces( \(.*\))?"


def test_serve_answers_until_ctrl_c(aichatfree: Command) -> None:
    with serving(aichatfree) as (url, said):
        assert f"aichatfree ask --base-url {url}" in said
        done = aichatfree("ask", "--base-url", url, "Hello?")
        assert done.returncode == 0
        assert "“Hello?”" in done.stdout.decode()


def test_serve_wants_what_it_is_told_to(aichatfree: Command) -> None:
    with serving(aichatfree, "--password", "pa55", "--secret", "s3cret", "--reply", "Käse") as (url, said):
        assert "with password and secret" in said
        assert "pa55" not in said
        right = ("--base-url", url, "--password", "pa55", "--secret", "s3cret", "x")
        assert aichatfree("ask", *right).stdout == "Käse".encode()
        assert aichatfree("ask", "--base-url", url, "--password", "pa55", "x").returncode == 1
        assert aichatfree("ask", "--base-url", url, "--secret", "s3cret", "x").returncode == 1


def test_serve_and_ask_agree_where_the_environment_has_the_password(aichatfree: Command) -> None:
    env = {"AICHATFREE_PASSWORD": "pa55", "AICHATFREE_SECRET": "s3cret"}
    with serving(aichatfree, env=env) as (url, said):
        assert "with password and secret" in said
        assert aichatfree("ask", "--base-url", url, "x", env=env).returncode == 0
        assert aichatfree("ask", "--base-url", url, "x").returncode == 1


def test_serve_has_metrics_where_they_are_wanted(aichatfree: Command) -> None:
    """Without the switch the path is as unknown as at the real server."""
    with serving(aichatfree, "--metrics", "--no-page", "--password", "pa55", "--reply", "x") as (url, said):
        assert f"Figures for Prometheus are on {url}/metrics" in said
        assert aichatfree("ask", "--base-url", url, "--password", "pa55", "x").returncode == 0
        status, text = get(url, "/metrics")
        assert status == 200
        assert b'aichatfree_http_requests_total{method="POST",route="/api/generate",status="200"} 1.0' in text
        assert b"pa55" not in text
    with serving(aichatfree) as (url, said):
        assert "Prometheus" not in said
        assert get(url, "/metrics") == (404, b"Not found")


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_metrics_without_their_package(aichatfree: Command, command: str) -> None:
    done = aichatfree.run_python(
        "import sys; sys.modules['prometheus_client'] = None; from aichatfree.cli import main; "
        f"sys.exit(main(['{command}', '--metrics', '--port', '0']))"
    )
    assert done.returncode == 2
    assert complaint(done).endswith("pip install 'aichatfree[metrics]'")


def test_serve_ends_cleanly_at_sigterm(aichatfree: Command) -> None:
    with aichatfree.start("serve", "--port", "0", stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["--port", "{taken}"], 1, "Address already in use; choose another port"),
        (["--port", "70000"], 2, "70000 is not in the range 0<=x<=65535"),
        (["--port", "http"], 2, "'http' is not a valid integer"),
        (["--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1"),
        (["--host", ""], 2, "--host is empty"),
        (["--host", " "], 2, "--host is empty"),
    ],
)
def test_serve_that_cannot_listen(aichatfree: Command, args: list[str], status: int, words: str) -> None:
    with serving(aichatfree) as (url, _):
        done = aichatfree("serve", *[arg.format(taken=url.rpartition(":")[2]) for arg in args])
    assert done.returncode == status
    assert words in complaint(done)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--upstream", "nope"], "--upstream is 'nope': there are gemini, openai:URL, ollama or ollama:URL"),
        (["--upstream", "ollama:", "--model", "m"], "--upstream is 'ollama:'"),
        (["--upstream", "gemini"], "the upstream gemini needs a key: set AICHATFREE_UPSTREAM_KEY, or upstream_key"),
        (["--upstream", "openai", "--model", "m"], "--upstream openai needs an address"),
        (["--upstream", "openai:http://127.0.0.1:1/v1"], "the upstream openai needs --model"),
        (["--upstream", "ollama"], "the upstream ollama needs --model"),
        (["--model", "m"], "--model is for a model, and there is none: say which with --upstream"),
        (["--system", "s"], "--system is for a model"),
        (["--temperature", "1"], "--temperature is for a model"),
        (["--max-tokens", "1"], "--max-tokens is for a model"),
        (["--upstream-proxy", "http://x"], "--upstream-proxy is for a model"),
        (["--no-probe"], "--no-probe is for a model"),
        (["--upstream", "ollama", "--model", "m", "--reply", "x"], "--reply and --upstream exclude each other"),
        (["--max-concurrent", "0"], "0 is not in the range x>=1"),
        (["--allow-origin", "chat.example"], "--allow-origin: 'chat.example' is not an origin"),
    ],
)
def test_serve_refuses_wrong_usage_in_one_sentence(aichatfree: Command, args: list[str], words: str) -> None:
    done = aichatfree("serve", "--port", "0", *args)
    assert done.returncode == 2
    assert words in complaint(done)


def test_serve_logs_each_request_and_nothing_that_is_said(aichatfree: Command) -> None:
    with aichatfree.start("serve", "--port", "0", "--reply", "private answer", stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        url = re.findall(r"http://\S+", process.stderr.readline().decode())[0]
        process.stderr.readline()
        assert aichatfree("ask", "--base-url", url, "private question").returncode == 0
        line = process.stderr.readline().decode()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert re.fullmatch(LOG_LINE, line.strip())
    assert "POST /api/generate 200" in line
    assert "1 pieces" in line
    assert rest == b"Stopped.\n"


def test_serve_goes_on_when_nobody_reads_its_log(aichatfree: Command) -> None:
    """A pipe takes 64 KiB; the lines of 800 long requests are more."""
    with aichatfree.start("serve", "--port", "0", "--reply", "ok", stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        url = re.findall(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline().decode())[0]
        connection = http.client.HTTPConnection("127.0.0.1", int(url), timeout=20)
        for _ in range(800):
            connection.request("GET", "/" + "x" * 300)
            assert connection.getresponse().read() == b"Not found"
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert len(process.stderr.read()) > 60_000, "the pipe was never full"
        assert process.wait(20) == 0


def test_serve_has_a_page_unless_it_is_told_not_to(aichatfree: Command) -> None:
    for args, status in (([], 200), (["--no-page"], 404)):
        with serving(aichatfree, *args) as (url, said):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
            connection.request("GET", "/")
            assert connection.getresponse().status == status
            connection.close()
            assert ("browser" in said) is (status == 200)


def test_serve_answers_pages_of_a_site_that_it_is_told(aichatfree: Command) -> None:
    with serving(aichatfree, "--allow-origin", "https://chat.example", "--reply", "ok") as (url, _):
        for origin, status in (("https://chat.example", 500), ("https://evil.example", 403)):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
            connection.request("POST", "/api/generate", b"{", {"Origin": origin})
            assert connection.getresponse().status == status
            connection.close()


def test_serve_is_not_disturbed_by_what_is_nested_deeply(aichatfree: Command) -> None:
    message = '{"messages": [{"role": "user", "parts": [{"text": %s}]}], "time": 1, "sign": ""}'
    with serving(aichatfree) as (url, _):
        for depth in (600, 5000, 200_000):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
            connection.request("POST", "/api/generate", (message % ("[" * depth + "]" * depth)).encode())
            answer = connection.getresponse()
            assert answer.status in (401, 500)
            assert b"Traceback" not in answer.read()
            connection.close()


def test_the_demo_needs_neither_network_nor_settings(aichatfree: Command) -> None:
    env = {
        "AICHATFREE_BASE_URL": "http://127.0.0.1:1",
        "AICHATFREE_PASSWORD": "x",
        "AICHATFREE_SECRET": "y",
        "AICHATFREE_CONFIG": "/missing.toml",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "socks5://127.0.0.1:1",
        "SSL_CERT_FILE": "/missing.pem",
    }
    done = aichatfree("demo", "Can", "you?", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "“Can you?”" in done.stdout.decode()
    assert b"local stand-in" in aichatfree("demo", env=env).stdout


def test_the_demo_refuses_an_empty_prompt(aichatfree: Command) -> None:
    done = aichatfree("demo", " ")
    assert done.returncode == 2
    assert "the prompt is empty" in complaint(done)


def test_the_demo_is_quiet_on_a_closed_pipe(aichatfree: Command) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        done = aichatfree("demo", stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")
