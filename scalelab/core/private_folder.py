"""Make a folder for temporary files that only this user can read and write."""

import os
import stat
import tempfile
from pathlib import Path

__all__ = ["private_folder"]


def private_folder() -> Path:
    """The folder of this user below the system's folder for temporary files.

    Where another user has made the one of the usual name, or can write it, a new one is made.
    """
    folder = Path(tempfile.gettempdir()) / f"scalelab-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if is_own and not stat.S_IMODE(found.st_mode) & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="scalelab-"))
