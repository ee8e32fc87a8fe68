"""The names of the models that an Ollama has, for a shell that completes them: within a second, or none at all."""

from __future__ import annotations

import json
import re
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

USUAL_URL = "http://127.0.0.1:11434"
LIMIT_SECONDS = 1.0
"""How long somebody who has pressed Tab waits at most."""
_MAX_BYTES = 1 << 20
_NAME = re.compile(r"[\w./:@+-]+", re.ASCII)
"""What a name looks like: anything else could mean something to a shell, or to a terminal."""


def ollama_models(url: str = "", *, limit_seconds: float = LIMIT_SECONDS) -> list[str]:
    """The names, as one would type them: the tag ``latest`` goes without saying.

    Args:
        url: The address of the Ollama; ``""`` is the usual one.
        limit_seconds: When to give up.

    Returns:
        Empty where it does not answer in time, or answers with anything else.
    """
    found: list[str] = []
    # In a thread, as each of its steps has a limit of its own; it ends with the program, which does nothing else.
    asking = threading.Thread(target=_ask, args=(url or USUAL_URL, limit_seconds, found), daemon=True)
    asking.start()
    asking.join(limit_seconds)
    return [] if asking.is_alive() else sorted(set(found))


def _ask(url: str, limit_seconds: float, found: list[str]) -> None:
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        connection = kind(parts.hostname or "", parts.port, timeout=limit_seconds)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/api/tags")
            answer = connection.getresponse()
            if answer.status != 200:
                return
            models = json.loads(answer.read(_MAX_BYTES))["models"]
            names = [model["name"] for model in models]
        finally:
            connection.close()
        found += [name.removesuffix(":latest") for name in names if _NAME.fullmatch(name)]
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # whatever is there, it is no Ollama
