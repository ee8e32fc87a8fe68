"""Files that are replaced in one step: the one place where the core touches a disk."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from ..errors import InvalidRequestError


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file in one step: a crash, even of the machine, leaves the old one or the new one whole.

    A link is followed. A file that exists keeps its permissions; a new one can be read by its owner only.

    Args:
        path: The file. Its folder must exist.
        data: All of it.

    Raises:
        OSError: It cannot be written.
        InvalidRequestError: The path names something that is not a file.
    """
    import tempfile  # some milliseconds, for those who save

    path = Path(os.path.realpath(path))
    mode = 0o600
    with suppress(FileNotFoundError):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InvalidRequestError(f"{path} is not a file: give the path of a file to write")
        mode = stat.S_IMODE(found.st_mode)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".aichatfree-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        os.replace(name, path)  # noqa: PTH105 - the atomic one, by its own name
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name == "posix":  # pragma: no branch - Windows keeps no folder open
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Bring a folder to the disk, where that can be done: the new name of a file is safe only then."""
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
