"""LocalServer.client: a client that has what the server wants."""

from __future__ import annotations

import typing

import pytest

from aichatfree import Client, InvalidRequestError
from aichatfree.server import LocalServer


@pytest.mark.parametrize("password", [None, "open sesame", "one,two", ["one", "two"]])
def test_it_opens_the_server(password: str | list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICHATFREE_PASSWORD", "another")
    monkeypatch.setenv("AICHATFREE_SECRET", "another")
    with LocalServer(reply="fine", secret="s3cret", password=password) as server, server.client() as client:
        assert isinstance(client, Client)
        assert client.generate("Hi") == "fine"
        assert client.verify_password()
        assert "s3cret" not in repr(server)


def test_options_take_precedence_and_are_checked() -> None:
    with LocalServer(reply="fine", password="right") as server:
        with server.client(password="wrong", model="m") as client:
            assert not client.verify_password()
            assert client.stream("Hi").model == "m"
        with pytest.raises(InvalidRequestError, match="did you mean 'timeout'"):
            server.client(tiemout=3)  # type: ignore[call-arg]
    assert typing.get_type_hints(LocalServer.client)["return"] is Client


def test_a_server_that_was_not_started_has_no_client() -> None:
    with pytest.raises(RuntimeError, match="has not been started"):
        LocalServer().client()
