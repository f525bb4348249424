"""Show on standard error how far planning is."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scalelab.cli.output import clean, note

__all__ = ["planning_progress"]

# Seconds between two lines where standard error is not a terminal.
_BETWEEN_S = 10.0


@contextmanager
def planning_progress(*, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """A function for how many are done, of how many, and what is next.

    In a terminal one line is written over; elsewhere a line is written now and then.
    """
    in_place = sys.stderr.isatty()
    width = 0
    last_s = time.monotonic()

    def show(done: int, total: int, label: str) -> None:
        nonlocal width, last_s
        if quiet:
            return
        text = clean(f"planning {done + 1} of {total}: {label}".rstrip(" :"))
        if in_place:
            text = text[:78]
            sys.stderr.write(f"\r{text.ljust(width)}")
            sys.stderr.flush()
            width = len(text)
        elif time.monotonic() - last_s >= _BETWEEN_S:
            last_s = time.monotonic()
            note(text)

    if in_place:
        show(0, 1, "starting")
    try:
        yield show
    finally:
        if width:
            sys.stderr.write(f"\r{' ' * width}\r")
            sys.stderr.flush()
