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
        self._end_at_once = False

    def __call__(self, *_: object) -> None:
        """Handle one signal."""
        self.count += 1
        if self._end_at_once:
            raise KeyboardInterrupt
        if self.on_signal is not None:
            self.on_signal(self.count)

    @contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """A signal raises KeyboardInterrupt: for work that nothing is lost by ending."""
        before, self._end_at_once = self._end_at_once, True
        try:
            if self.count:
                raise KeyboardInterrupt
            yield
        finally:
            self._end_at_once = before


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
