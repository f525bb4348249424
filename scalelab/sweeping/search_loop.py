"""Run a search: ask for configurations, run them and report their results to the sampler."""

from collections.abc import Callable, Collection

from scalelab.store.ledger import Ledger
from scalelab.store.writer import LedgerWriter
from scalelab.studies.grid import Configuration
from scalelab.studies.search import ObjectiveValues, Search
from scalelab.sweeping.driver import Driver
from scalelab.sweeping.jobs import Job
from scalelab.sweeping.quality import validation_quality

__all__ = ["objective_values", "run_search"]

_FIGURES = """
    SELECT fingerprint, avg(peak_bytes) AS memory, avg(train_s) AS time
    FROM results WHERE list_contains($1, fingerprint) GROUP BY fingerprint
"""


def run_search(
    search: Search,
    driver: Driver,
    *,
    ledger: Ledger,
    writer: LedgerWriter,
    plan_trial: Callable[[Configuration], Job],
) -> None:
    """Keep the driver's slots full of configurations that `search` proposes.

    `plan_trial` plans a configuration and adds it to the driver if it has to run. A result that the
    ledger has already is reported to the sampler at once, and counts as a trial too.
    """
    proposed: dict[str, Configuration] = {}
    trials_left = search.spec.trials
    while True:
        while trials_left and driver.num_free > 0 and not (driver.stopping or driver.ended):
            configuration = search.ask()
            if configuration is None:
                trials_left = 0
                break
            trials_left -= 1
            job = plan_trial(configuration)
            proposed[job.fingerprint] = configuration
            if job.earlier_outcome is not None:
                driver.ended.append(job.fingerprint)
        unfinished = driver.step()
        if driver.ended:
            writer.flush()
            values = objective_values(driver.ended, ledger)
            for fingerprint in driver.ended:
                search.tell(proposed[fingerprint], values.get(fingerprint))
            driver.ended.clear()
        elif not unfinished:
            return


def objective_values(fingerprints: Collection[str], ledger: Ledger) -> dict[str, ObjectiveValues]:
    """The objectives of those that are done, from the ledger; the others are missing."""
    rows = ledger.query(_FIGURES, [list(fingerprints)]).to_pylist()
    quality = validation_quality(ledger, fingerprints)
    return {
        fingerprint: ObjectiveValues(**row, quality=quality.get(fingerprint))
        for row in rows
        for fingerprint in (row.pop("fingerprint"),)
    }
