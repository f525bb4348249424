"""A search and a driver in: asks, runs and tells until the trials are used up."""

from collections.abc import Callable, Collection

from scalelab.store.ledger import Ledger
from scalelab.store.writer import LedgerWriter
from scalelab.studies.grid import Cell
from scalelab.studies.search import Figures, Search
from scalelab.sweeping.driver import Driver
from scalelab.sweeping.jobs import Job

__all__ = ["figures_of", "search_cells"]

_FIGURES = """
    SELECT fingerprint, avg(valid_ndcg_10) AS quality, avg(peak_bytes) AS memory,
           avg(train_s) AS time
    FROM results WHERE list_contains($1, fingerprint) GROUP BY fingerprint
"""


def search_cells(
    search: Search,
    driver: Driver,
    ledger: Ledger,
    writer: LedgerWriter,
    enter: Callable[[Cell], Job],
) -> None:
    """Keep the driver's slots full of cells that `search` asks for.

    `enter` plans a cell and hands it to the driver if it is due; what the ledger knows already is
    told at once, and counts as a trial too.
    """
    asked: dict[str, Cell] = {}
    left = search.spec.trials
    while True:
        while left and driver.free() > 0 and not (driver.stopping or driver.ended):
            cell = search.ask()
            if cell is None:
                left = 0
                break
            left -= 1
            job = enter(cell)
            asked[job.fingerprint] = cell
            if job.before is not None:
                driver.ended.append(job.fingerprint)
        going_on = driver.turn()
        if driver.ended:
            writer.flush()
            figures = figures_of(driver.ended, ledger)
            for fingerprint in driver.ended:
                search.tell(asked[fingerprint], figures.get(fingerprint))
            driver.ended.clear()
        elif not going_on:
            return


def figures_of(fingerprints: Collection[str], ledger: Ledger) -> dict[str, Figures]:
    """What the ledger has of those that are done; the others are missing."""
    rows = ledger.query(_FIGURES, [list(fingerprints)]).to_pylist()
    return {row.pop("fingerprint"): Figures(**row) for row in rows}
