"""What a process under test says of itself."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def memory() -> int:
    """Bytes of memory that this process has in use, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def answer_lines() -> None:
    """Answer each line of standard input with what this process has used, as JSON, until the lines end."""
    for _ in sys.stdin:
        print(json.dumps({"cpu": time.process_time(), "memory": memory()}), flush=True)
