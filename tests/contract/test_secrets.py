"""No password, secret, signature or credential in anything that is shown, on any path."""

from __future__ import annotations

import io
import json
import logging
import pickle
import traceback
from typing import Any

import pytest

import aichatfree
from aichatfree.testing import Drop, Garbage, ProxyServer, Reply, ScriptedServer

PASSWORD = 'pass"wörd-hunter2'
SECRET = "s3cret-key"
PROXY_PASSWORD = "proxy-hunter3"
HEADER = "token-hunter4"


def echo(request: Any) -> Reply:
    """An answer that repeats the whole request: body, headers and all."""
    return Reply(request.body.decode() + str(list(request.headers.items())), status=500)


def echo_json(request: Any) -> Reply:
    values = json.dumps({"error": {"message": f"bad: {request.body.decode()}", "code": str(request.json["pass"])}})
    return Reply(values, status=401)


PATHS = {
    "success": Reply("hello"),
    "echo": echo,
    "echo as json": echo_json,
    "echo in the reply": lambda request: Reply(["text"], fault=Drop("in-body")),
    "redirect": Reply.redirect("http://127.0.0.1:1/elsewhere"),
    "password": Reply.wrong_password(),
    "signature": Reply.wrong_signature(skew_seconds=4000),
    "garbage": Reply("", fault=Garbage()),
    "drop": Reply("", fault=Drop("before-answer")),
    "quota": Reply.quota(retry_in=0),
    "in band": Reply.in_band_error("some"),
    "html": Reply.html(502, "nginx"),
}


def shown(value: Any, depth: int = 0) -> list[str]:
    """Everything of an object that a person or a log might print."""
    texts = [repr(value), str(value)]
    if isinstance(value, BaseException):
        texts += traceback.format_exception(value)
        texts += [str(attribute) for attribute in vars(value).values()]
        texts += [repr(attribute) for attribute in vars(value).values()]
        if depth < 5:
            for linked in (value.__cause__, value.__context__, *getattr(value, "attempts", ())):
                if linked is not None:
                    texts += shown(linked, depth + 1)
    return texts


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize("name", PATHS)
def test_nothing_is_shown(face: Any, caplog: pytest.LogCaptureFixture, name: str, proxied: bool) -> None:
    caplog.set_level(logging.DEBUG)
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        with ScriptedServer(secret=SECRET, password=PASSWORD) as server, ProxyServer() as proxy:
            server.enqueue(*[PATHS[name]] * 3)
            client = face.client(
                server,
                secret=SECRET,
                password=PASSWORD,
                headers={"X-Auth-Token": HEADER, "Authorization": f"Bearer {HEADER}"},
                proxy=proxy.url.replace("http://", f"http://me:{PROXY_PASSWORD}@") if proxied else None,
                max_retries=1,
            )
            outcome = face.stream(client)
            assert (outcome.error is None) == (name == "success")
            texts = [log.getvalue(), *shown(client), *shown(outcome.stream), *shown(client._settings)]
            texts += [repr(server), repr(server.requests)]
            if outcome.error is not None:
                texts += shown(outcome.error)
                texts += shown(pickle.loads(pickle.dumps(outcome.error)))
            signatures = [str(request.json.get("sign", "")) for request in server.requests]
    finally:
        logging.getLogger().removeHandler(handler)
    hidden = [PASSWORD, SECRET, PROXY_PASSWORD, HEADER, *filter(None, signatures), json.dumps(PASSWORD)[1:-1]]
    assert "aichatfree" in caplog.text or "try 1" in caplog.text  # the log was written
    for text in texts:
        for secret in hidden:
            assert secret not in text


def test_bad_options_do_not_show_them() -> None:
    for options in (
        {"base_url": f"ftp://me:{PASSWORD}@host"},
        {"base_url": f"http://me:{PROXY_PASSWORD}@ho st"},
        {"base_url": f"http://me:{PROXY_PASSWORD}@host:port"},
        {"proxy": f"ftp://me:{PROXY_PASSWORD}@host"},
        {"proxy": f"http://me:{PROXY_PASSWORD}@host:99999"},
        {"headers": {"X-Token": f"{HEADER}\n"}},
        {"password": 5},
    ):
        with pytest.raises(aichatfree.InvalidRequestError) as caught:
            aichatfree.Client(**options)
        for text in shown(caught.value):
            for secret in (PASSWORD, PROXY_PASSWORD, HEADER):
                assert secret not in text.replace(repr(options), "")
