"""Read from a ledger what earlier starts of a sweep have found, for the view of the next one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalelab import api
from scalelab.cli.finished import Finished, Reference, finished_of_row
from scalelab.core.events import Planned
from scalelab.core.identity import COMPARABLE
from scalelab.core.records import LOST, Outcome

__all__ = ["Earlier", "EarlierRun", "earlier_of"]

Place = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """A run that is done. `place` is its data fingerprint and its protocol; runs of one
    `comparison` may be compared.
    """

    comparison: tuple[str, ...]
    place: Place
    configuration: str
    finished: Finished


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Runs that were done before, and the baselines of their data, the best on test first.

    `lost` are the configurations of which a seed ended without a result.
    """

    runs: tuple[EarlierRun, ...]
    lost: tuple[str, ...]
    baselines: Mapping[Place, tuple[Reference, ...]]


def earlier_of(ledger: Path, cells: Sequence[Planned]) -> Earlier:
    """What the ledger has of these runs. Raises LedgerError."""
    labels = {cell.run_id.rpartition("-")[0]: cell.label for cell in cells}
    found = api.results(ledger, list(labels))
    rows = [row for row in found if row["outcome"] == Outcome.DONE and row["data_fingerprint"]]
    lost = dict.fromkeys(row["configuration"] for row in found if row["outcome"] in LOST)
    runs = [
        EarlierRun(
            comparison=tuple(str(row[name]) for name in COMPARABLE),
            place=(row["data_fingerprint"], row["protocol"]),
            configuration=row["configuration"],
            finished=finished_of_row(labels[row["fingerprint"]], row),
        )
        for row in rows
    ]
    sizes = {run.place: row for run, row in zip(runs, rows, strict=True)}
    baselines: dict[Place, list[Reference]] = {}
    for one in api.baselines(ledger) if runs else ():
        place = (one["data_fingerprint"], one["protocol"])
        if place in sizes:
            reference = Reference(
                metric=one["quality_metric"],
                dataset=one["dataset"],
                num_items=sizes[place]["num_items"],
                num_users=sizes[place]["num_users"],
                protocol=one["protocol"],
                data_fingerprint=one["data_fingerprint"],
                name=one["name"].replace("_", " "),
                valid=one["valid_quality"],
                test=one["test_quality"],
            )
            baselines.setdefault(place, []).append(reference)
    for known in baselines.values():
        known.sort(key=lambda one: -(one.test or 0.0))
    return Earlier(
        runs=tuple(runs),
        lost=tuple(lost),
        baselines={place: tuple(known) for place, known in baselines.items()},
    )
