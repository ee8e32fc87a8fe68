"""``python -m aichatfree``: the same as the command ``aichatfree``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
