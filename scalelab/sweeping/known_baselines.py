"""Keep in mind which baselines are stored, and compute those that no run will bring."""

from collections.abc import Callable, Iterable, Sequence

from scalelab.core.records import Baseline, Outcome
from scalelab.core.spec import RunSpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping.jobs import Job

__all__ = ["KnownBaselines", "add_missing"]


class KnownBaselines:
    """The names of the stored baselines by data fingerprint and protocol, and those under way."""

    def __init__(self, stored: Iterable[tuple[str, str, str]] = ()) -> None:
        self._names: dict[tuple[str, str], set[str]] = {}
        for data_fingerprint, protocol, name in stored:
            self._names.setdefault((data_fingerprint, protocol), set()).add(name)

    def has(self, data_fingerprint: str | None, spec: RunSpec) -> bool:
        """Whether those of the spec's data are known, for its `data.recent_days`."""
        names = self._names.get((data_fingerprint or "", spec.protocol), set())
        wanted = spec.data.recent_baseline
        recent = {name for name in names if name.startswith("popularity_")}
        # Data without clock times have no recent ones at all.
        return bool(names) and (not recent or wanted in recent)

    def add(self, data_fingerprint: str | None, spec: RunSpec) -> None:
        """A run that is under way brings them."""
        key = (data_fingerprint or "", spec.protocol)
        self._names.setdefault(key, set()).update({"popularity", spec.data.recent_baseline})

    def discard(self, data_fingerprint: str | None, spec: RunSpec) -> None:
        """The run that was to bring them has not."""
        self._names.pop((data_fingerprint or "", spec.protocol), None)


def add_missing(
    jobs: Sequence[Job],
    known: KnownBaselines,
    ledger: Ledger,
    compute: Callable[[RunSpec, str], Sequence[Baseline]],
) -> None:
    """Store the baselines of finished runs that are not known, where no run that is due has them.

    So after another `data.recent_days`, which no run depends on.
    """
    due = {(job.data_fingerprint, _baselines_of(job)) for job in jobs if job.due}
    for job in jobs:
        spec, data_fingerprint = job.configuration.spec, job.data_fingerprint
        if job.earlier_outcome is not Outcome.DONE or known.has(data_fingerprint, spec):
            continue
        if (data_fingerprint, _baselines_of(job)) not in due:
            ledger.add_baselines(compute(spec, data_fingerprint))
            known.add(data_fingerprint, spec)


def _baselines_of(job: Job) -> tuple[str, str]:
    spec = job.configuration.spec
    return spec.protocol, spec.data.recent_baseline
