"""Write the page of a ledger again and again while a sweep writes the ledger."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scalelab.core.errors import ScalelabError
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

    Until then a browser loads it again as often. The last page, also after an exception, does
    not. Raises SpecError, LedgerError.
    """

    def write(refresh_s: float | None) -> Path:
        return report(ledger, out, format="html", metric=metric, refresh_s=refresh_s)[0]

    may_reload = False
    try:
        while is_locked(ledger.path):
            may_reload = True  # the file may be there although the write was stopped
            yield write(every_s)
            sleep(every_s)
    except BaseException as error:
        if may_reload:
            try:
                write(None)
            except ScalelabError as second:
                # What ended the sweep of pages must be known; it may prevent this one too.
                error.add_note(f"the last page is not written: {second}")
        raise
    yield write(None)
