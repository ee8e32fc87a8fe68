"""The library's logger, silent until somebody listens. It is told no secret."""

from __future__ import annotations

import logging

logger = logging.getLogger("aichatfree")
if not logger.handlers:
    logger.addHandler(logging.NullHandler())
