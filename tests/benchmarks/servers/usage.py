"""What a server under test says of itself."""

from __future__ import annotations

import json
import sys
import time

from ..clients.streams import memory


def answer_lines() -> None:
    """Answer each line of standard input with what this process has used, as JSON, until the lines end."""
    for _ in sys.stdin:
        print(json.dumps({"cpu": time.process_time(), "memory": memory()}), flush=True)
