"""Write a file as a whole or not at all: where the new one fails, what was there before stays."""

import errno
import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from scalelab.core.leftovers import remove_leftovers

__all__ = ["whole_file"]

# No file takes so long to write; what is older was left by a killed process.
_LONGEST_S = 3600.0


@contextmanager
def whole_file(path: Path) -> Generator[Path, None, None]:
    """A path beside `path` to write to, whose file takes its place when the block has ended well.

    It has the rights of the file before it. What is not a file, such as /dev/stdout, is written to
    directly. Raises OSError, also for a file that may not be written although its folder may.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()  # a link stays one
    is_there = path.exists()
    if is_there and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    # Names may be as long as a system allows; a digest is short.
    prefix = f".{hashlib.blake2b(path.name.encode(), digest_size=8).hexdigest()}-"
    remove_leftovers(path.parent, prefix, _LONGEST_S)
    partial = path.with_name(f"{prefix}{uuid4().hex}.part")
    try:
        yield partial
        if is_there:
            shutil.copymode(path, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
