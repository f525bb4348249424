"""Count the signals (Ctrl-C, SIGTERM) that ask a sweep to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["StopSignals", "count_stop_signals"]


class StopSignals:
    """How many stop signals have come; `on_signal` is called with that number at each."""

    def __init__(self) -> None:
        self.count = 0
        self.on_signal: Callable[[int], None] | None = None

    def __call__(self, *_: object) -> None:
        """Handle one signal."""
        self.count += 1
        if self.on_signal is not None:
            self.on_signal(self.count)


@contextmanager
def count_stop_signals() -> Iterator[StopSignals]:
    """Count stop signals instead of being ended by them (in the main thread only)."""
    stops = StopSignals()
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
