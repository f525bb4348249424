"""Write the page of a ledger again and again while a sweep writes the ledger."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scalelab.reporting.page import report
from scalelab.store.ledger import Ledger
from scalelab.store.lock import is_locked

__all__ = ["pages_while_sweeping"]


def pages_while_sweeping(
    ledger: Ledger,
    out: Path | None,
    *,
    every_s: float,
    metric: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Path]:
    """Writes the page every so many seconds until no sweep writes the ledger; yields its file.

    Until then a browser loads it again as often. The last page, also after KeyboardInterrupt, does
    not. Raises SpecError, LedgerError.
    """

    def write(refresh_s: float | None) -> Path:
        return report(ledger, out, format="html", metric=metric, refresh_s=refresh_s)[0]

    written = None
    try:
        while is_locked(ledger.path):
            written = write(every_s)
            yield written
            sleep(every_s)
    except (KeyboardInterrupt, GeneratorExit):
        if written is not None:
            write(None)
        raise
    yield write(None)
