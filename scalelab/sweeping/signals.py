"""Ctrl-C and SIGTERM in, a count of them out."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Stops", "listening"]


class Stops:
    """How often a person, or the system, has asked this sweep to stop."""

    def __init__(self) -> None:
        self.count = 0
        self.at_once: Callable[[int], None] | None = None

    def __call__(self, *_: object) -> None:
        """A signal has come."""
        self.count += 1
        if self.at_once is not None:
            self.at_once(self.count)


@contextmanager
def listening() -> Iterator[Stops]:
    """Counts signals instead of dying of them. Only the main thread can; elsewhere none come."""
    stops = Stops()
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stops) for number in numbers}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
