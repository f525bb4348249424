"""Call a function for each key that is pressed in the terminal, while a block runs."""

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["keys_pressed"]


@contextmanager
def keys_pressed(actions: Mapping[str, Callable[[], None]]) -> Iterator[bool]:
    """Read keys without echo and without Enter; Ctrl-C and Ctrl-Z keep their meaning.

    Gives False, and reads nothing, where standard input is not a terminal of this process: in a
    pipe, in the background, on a system without termios. The terminal is as before when the block
    ends. Actions run in a thread of their own.
    """
    try:
        import termios
        import tty
    except ModuleNotFoundError:  # Windows
        yield False
        return
    terminal = _own_terminal()
    if terminal is None:
        yield False
        return
    before = termios.tcgetattr(terminal)
    stopped, stop = os.pipe()
    reader = threading.Thread(target=_read, args=(terminal, stopped, actions), daemon=True)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        reader.start()
        yield True
    finally:
        os.close(stop)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        if reader.ident is not None:
            reader.join(timeout=1)
        if not reader.is_alive():
            os.close(stopped)


def _own_terminal() -> int | None:
    """The descriptor of standard input where it is a terminal that this process may change."""
    try:
        number = sys.stdin.fileno()
        if not os.isatty(number) or os.tcgetpgrp(number) != os.getpgrp():
            return None
    except (AttributeError, OSError, ValueError):  # closed, replaced, or not ours
        return None
    return number


def _read(terminal: int, stopped: int, actions: Mapping[str, Callable[[], None]]) -> None:
    while True:
        ready, _, _ = select.select([terminal, stopped], [], [])
        if stopped in ready:
            return
        try:
            pressed = os.read(terminal, 64)
        except OSError:  # the terminal has been closed
            return
        if not pressed:
            return
        for key in pressed.decode(errors="replace"):
            if key in actions:
                actions[key]()
