"""The chat page in a real browser."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from aichatfree.server import LocalServer

from .browser import CHROMIUM, Page, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
    pytest.mark.timeout(120),
]

LAST = "document.querySelector('#turns > li:last-child .answer')"
DONE = f"({LAST}?.getAttribute('aria-busy') === 'false')"
Messages = list[dict[str, Any]]


class Model:
    """What it is told to do, by the question."""

    def __init__(self) -> None:
        self.asked: list[Messages] = []
        self.ended = 0
        self.seen = False

    async def __call__(self, messages: Messages) -> AsyncIterator[str]:
        self.asked.append(messages)
        question = messages[-1]["parts"][0]["text"]
        try:
            if question == "fail at once":
                raise RuntimeError("[503 Service Unavailable] Too <b>busy</b>")
            if question == "say nothing":
                return
            yield "The first piece, "
            if question == "fail":
                while not self.seen:
                    await asyncio.sleep(0.01)
                raise RuntimeError
            if question == "wait":
                await asyncio.sleep(60)
            yield "<img src=x onerror=\"document.title='attacked'\"> & the last: 世界."
            if question == "code":
                yield "\n```python\nif a < b:\n    pass\n```\nDone."
        finally:
            self.ended += 1


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def page(browser: Page, model: Model) -> Iterator[Page]:
    with LocalServer(model) as server:
        browser.open(server.url)
        browser.problems.clear()
        yield browser


def text(page: Page) -> str:
    return str(page.until(f"{DONE} && {LAST}.querySelector('.text').textContent"))


def failure(page: Page) -> str:
    return str(page.until(f"{DONE} && {LAST}.querySelector('[role=alert]')?.textContent"))


def test_a_question_is_answered_as_text_and_nothing_else(page: Page) -> None:
    page.ask("Hello?")
    assert text(page) == "The first piece, <img src=x onerror=\"document.title='attacked'\"> & the last: 世界."
    assert page.run("document.querySelectorAll('#turns img').length") == 0
    assert page.run("document.title") == "Chat"
    assert page.run("document.querySelector('#turns .question .text').textContent") == "Hello?"
    assert page.run("document.activeElement.id") == "prompt"
    assert page.run("document.getElementById('prompt').value") == ""
    assert page.run("document.getElementById('status').textContent") == "The answer is complete."
    assert page.problems == []


def test_code_is_set_apart(page: Page) -> None:
    page.ask("code")
    assert page.until(f"{DONE} && {LAST}.querySelector('pre code')?.textContent") == "if a < b:\n    pass\n"
    assert text(page).endswith("Done.")


def test_the_text_is_seen_while_it_comes_and_can_be_stopped(page: Page, model: Model) -> None:
    page.ask("wait")
    page.until(f"{LAST}.textContent.includes('The first piece, ')")
    assert page.run(f"{LAST}.getAttribute('aria-busy')") == "true"
    assert page.run("document.getElementById('send').hidden") is True
    page.press("Escape")
    assert text(page) == "The first piece, "
    assert "Stopped." in page.run(f"{LAST}.innerText")
    page.until("!document.getElementById('send').hidden")
    page.ask("Go on")
    text(page)
    assert [message["parts"][0]["text"] for message in model.asked[-1]] == ["wait", "The first piece, ", "Go on"]
    assert model.ended == 2


def test_the_button_stops_too(page: Page) -> None:
    page.ask("wait")
    page.until(f"{LAST}.textContent.includes('The first piece, ')")
    page.run("document.getElementById('stop').click()")
    assert text(page) == "The first piece, "


def test_a_reply_that_fails_is_shown_as_failed_and_not_remembered(page: Page, model: Model) -> None:
    page.ask("fail")
    page.until(f"{LAST}.textContent.includes('The first piece, ')")
    model.seen = True
    assert "broke off" in failure(page)
    assert page.run(f"{LAST}.querySelector('.text').textContent") == "The first piece, "
    page.run(f"{LAST}.querySelector('.again').click()")
    page.until("document.querySelectorAll('#turns .again').length === 1")
    page.ask("Hello?")
    text(page)
    assert [len(messages) for messages in model.asked] == [1, 1, 1]


def test_a_refusal_and_an_empty_reply_are_failures(page: Page) -> None:
    page.ask("fail at once")
    assert failure(page) == "The server refused (500). [503 Service Unavailable] Too <b>busy</b>"
    page.ask("say nothing")
    page.until("document.querySelectorAll('#turns > li').length === 2")
    assert failure(page) == "The server sent an empty reply."


def test_a_server_that_is_gone_is_a_failure(browser: Page) -> None:
    with LocalServer("ok") as server:
        browser.open(server.url)
    browser.ask("Hello?")
    assert failure(browser) == "The server cannot be reached. Is it running?"


def test_the_conversation_is_kept_and_begun_anew(page: Page, model: Model) -> None:
    page.ask("Hello?")
    text(page)
    page.call("Page.reload")
    page.until("document.querySelectorAll('#turns > li').length === 1")
    assert "世界" in text(page)
    page.ask("And?")
    page.until("document.querySelectorAll('#turns > li').length === 2")
    text(page)
    assert len(model.asked[-1]) == 3
    page.run("document.getElementById('new').click()")
    assert page.run("document.querySelectorAll('#turns > li').length") == 0
    page.call("Page.reload")
    page.until("document.readyState === 'complete' && !document.getElementById('welcome').hidden")


@pytest.mark.parametrize("kept", ["{", "null", '[{"question": 5}]', '[null, {"state": "whole"}]'])
def test_what_was_kept_may_be_damaged(page: Page, kept: str) -> None:
    page.run(f"localStorage.setItem('aichatfree.conversation', {json.dumps(kept)})")
    page.call("Page.reload")
    page.until("document.readyState === 'complete'")
    page.ask("Hello?")
    assert "世界" in text(page)


def test_password_and_secret_are_asked_for(browser: Page) -> None:
    with LocalServer("open", password="pässword", secret="s3cret") as server:
        browser.open(server.url)
        browser.until("document.getElementById('credential').open")
        browser.type("wrong")
        browser.press("Enter", "\r")
        browser.until("!document.getElementById('credential').open")
        browser.ask("Hello?")
        browser.until("document.getElementById('credential').open")
        assert "not right" in browser.run("document.getElementById('credential-hint').textContent")
        browser.type("pässword")
        browser.press("Enter", "\r")
        browser.until("document.getElementById('credential-label').textContent.startsWith('Secret')")
        browser.until("document.getElementById('credential').open")
        browser.type("s3cret")
        browser.press("Enter", "\r")
        assert text(browser) == "open"


def test_a_new_line_with_shift_and_nothing_for_blanks(page: Page, model: Model) -> None:
    page.ask("  ")
    assert model.asked == []
    page.type("one")
    page.press("Enter", "\r", modifiers=8)
    page.type("two")
    page.press("Enter", "\r")
    text(page)
    assert model.asked[0][0]["parts"][0]["text"] == "one\ntwo"


def test_its_own_sha256_is_right(page: Page) -> None:
    for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):
        data = os.urandom(length)
        code = f"""import('./page/protocol.js').then(({{ownSha256}}) =>
            Array.from(new Uint8Array(ownSha256(new Uint8Array({list(data)})))))"""
        assert bytes(page.run(code)) == hashlib.sha256(data).digest()


def test_without_subtle_crypto_it_signs_all_the_same(page: Page) -> None:
    page.run("Object.defineProperty(crypto, 'subtle', {value: undefined})")
    page.ask("Hello? 世界 \U0001f600")
    assert "世界" in text(page)


def test_the_policy_holds(page: Page) -> None:
    for code in (
        "document.body.setAttribute('onclick', 'window.bad = 1')",
        "Object.assign(document.createElement('script'), {textContent: 'window.bad = 1'})",
        "document.body.innerHTML = '<b>x</b>'",
    ):
        assert page.run(f"(() => {{ try {{ {code}; return 'done' }} catch {{ return 'refused' }} }})()") == "refused"
    assert page.run("fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'blocked')") == "blocked"
    assert any("Content Security Policy" in problem for problem in page.problems)


def test_it_can_be_used_with_a_keyboard_and_a_screen_reader(page: Page) -> None:
    page.ask("Hello?")
    text(page)
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if "role" in node}
    for wanted in (
        ("textbox", "Your message"),
        ("button", "Send"),
        ("button", "New conversation"),
        ("heading", "Chat"),
        ("heading", "Answer"),
    ):
        assert wanted in named
    assert page.run(f"{LAST}.getAttribute('aria-live')") == "polite"
    assert page.run("document.documentElement.lang") == "en"
    seen = []
    page.run("document.activeElement.blur()")
    for _ in range(6):
        page.press("Tab")
        seen.append(page.run("document.activeElement.id || document.activeElement.className"))
    assert {"skip", "new", "scroller", "prompt", "send"} <= set(seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark_and_on_a_phone(page: Page, model: Model, scheme: str, tmp_path: Path) -> None:
    model.seen = True
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.ask("code")
    text(page)
    page.ask("fail")
    failure(page)
    for width, height in ((1280, 800), (360, 640)):
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is wider than the screen"
        assert page.run("document.getElementById('send').getBoundingClientRect().bottom <= window.innerHeight")
        folder = Path(os.environ.get("SCREENSHOTS_OF_THE_PAGE") or tmp_path)
        page.screenshot(folder / f"{scheme}-{width}.png")
    page.call("Emulation.clearDeviceMetricsOverride")
    for selector in ("body", ".question", ".answer", ".failure", "#send", ".note", "#welcome"):
        assert page.run(CONTRAST % json.dumps(selector)) >= 4.5, selector


CONTRAST = """(() => {
  const found = document.querySelector(%s);
  if (!found) return 21;
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  let behind = found;
  while (behind && numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const light = (colour) => {
    const linear = (n) => n <= .04045 ? n / 12.92 : ((n + .055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(colour).map((n) => linear(n / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const pair = [light(getComputedStyle(found).color), light(getComputedStyle(behind ?? document.body).backgroundColor)];
  return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
})()"""
