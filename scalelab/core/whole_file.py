"""Write a file as a whole or not at all: where the new one fails, what was there before stays."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: Path) -> Generator[Path, None, None]:
    """A path beside `path` to write to, whose file takes its place when the block has ended well.

    What is not a file, such as /dev/stdout, is written to directly. Raises OSError.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()  # a link stays one
    partial = path.with_name(f".{uuid4().hex}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
