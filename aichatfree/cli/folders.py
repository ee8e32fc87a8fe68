"""The user's folders: where settings are read and conversations are kept. There may be no such place."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

_XDG = {"config": ("XDG_CONFIG_HOME", ".config"), "state": ("XDG_STATE_HOME", ".local/state")}


def user_folder(kind: Literal["config", "state"]) -> Path | None:
    """This program's folder of that kind, whether it exists or not.

    Returns:
        An absolute path; None where nobody's home is known, as in some services and containers.
    """
    if sys.platform in ("win32", "darwin"):
        import platformdirs  # where the rule is not as simple as below

        asked = platformdirs.user_config_path if kind == "config" else platformdirs.user_state_path
        path = asked("aichatfree", appauthor=False)
        return path if path.is_absolute() else None
    # The same rule as platformdirs has, but a HOME that is missing, empty or relative names no folder at all: expanded
    # by the standard library it would be one in the root or in whatever folder this program was started in.
    variable, below_home = _XDG[kind]
    given = os.environ.get(variable, "")
    if Path(given).is_absolute():  # the XDG specification has relative ones ignored
        return Path(given) / "aichatfree"
    home = _home()
    return None if home is None else home / below_home / "aichatfree"


def _home() -> Path | None:
    home = os.environ.get("HOME", "")
    if not Path(home).is_absolute():
        try:
            import pwd

            home = pwd.getpwuid(os.getuid()).pw_dir
        except (ImportError, KeyError):
            return None
    return Path(home) if Path(home).is_absolute() else None
