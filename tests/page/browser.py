"""Headless Chromium, driven through its DevTools protocol over a WebSocket: as little of it as the tests need."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --no-proxy-server --remote-debugging-port=0"
).split()
WAIT_SECONDS = 20.0


class Page:
    """One tab."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop, self._socket = loop, socket
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        """What the page logged as an error, violations of its Content-Security-Policy among it."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return asyncio.run_coroutine_threadsafe(self._call(method, params), self._loop).result(WAIT_SECONDS)

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.problems.append(message["params"]["entry"]["text"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(message["params"]["exceptionDetails"]))

    def run(self, code: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, code: str) -> Any:
        """Wait until an expression is true, and return its value."""
        ends = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < ends:
            if value := self.run(code):
                return value
            time.sleep(0.02)
        raise AssertionError(f"never true: {code}; the page says {self.run('document.body.innerText')!r}")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str, text: str = "", modifiers: int = 0) -> None:
        code = {"Enter": 13, "Escape": 27, "Tab": 9}[key]
        down = {"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", **down, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", **{**down, "type": "keyUp"})

    def ask(self, question: str) -> None:
        self.run("document.getElementById('prompt').focus()")
        self.type(question)
        self.press("Enter", "\r")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with one empty tab, and a profile of its own."""
    assert CHROMIUM
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    async def connect(port: str) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
        session = aiohttp.ClientSession()
        async with session.get(f"http://127.0.0.1:{port}/json") as response:
            tabs = await response.json()
        tab = next(tab for tab in tabs if tab["type"] == "page")
        return session, await session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)

    async def disconnect(session: aiohttp.ClientSession) -> None:
        await session.close()

    try:
        found = profile / "DevToolsActivePort"
        ends = time.monotonic() + WAIT_SECONDS
        while not (found.exists() and found.read_text().count("\n")):
            assert time.monotonic() < ends, "chromium does not start"
            assert process.poll() is None, "chromium has ended"
            time.sleep(0.05)
        port = found.read_text().splitlines()[0]
        session, socket = asyncio.run_coroutine_threadsafe(connect(port), loop).result(WAIT_SECONDS)
        page = Page(loop, socket)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        yield page
        asyncio.run_coroutine_threadsafe(disconnect(session), loop).result(WAIT_SECONDS)
    finally:
        process.kill()
        process.wait()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
