"""Keep in mind which baselines are stored, and compute those that no run will bring."""

from collections.abc import Callable, Iterable, Sequence

from scalelab.core.records import Baseline, Outcome
from scalelab.core.spec import RunSpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping.jobs import Job

__all__ = ["KnownBaselines", "add_missing"]


class KnownBaselines:
    """Name and length of lists (k) of the stored baselines by data fingerprint and protocol, and of
    those under way.
    """

    def __init__(self, stored: Iterable[tuple[str, str, str, int | None]] = ()) -> None:
        self._known: dict[tuple[str, str], set[tuple[str, int | None]]] = {}
        for data_fingerprint, protocol, name, k in stored:
            self._known.setdefault((data_fingerprint, protocol), set()).add((name, k))

    def has(self, data_fingerprint: str | None, spec: RunSpec) -> bool:
        """Whether those of the spec's data are known, for its `data.recent_days` and lengths."""
        known = self._known.get((data_fingerprint or "", spec.protocol), set())
        wanted = {("popularity", k) for k in spec.evaluate.ks}
        # Data without clock times have no recent ones at all.
        if any(name.startswith("popularity_") for name, _ in known):
            wanted |= {(spec.data.recent_baseline, k) for k in spec.evaluate.ks}
        return wanted <= known

    def add(self, data_fingerprint: str | None, spec: RunSpec) -> None:
        """A run that is under way brings them."""
        key = (data_fingerprint or "", spec.protocol)
        names = ("popularity", spec.data.recent_baseline)
        brought = {(name, k) for name in names for k in spec.evaluate.ks}
        self._known.setdefault(key, set()).update(brought)

    def discard(self, data_fingerprint: str | None, spec: RunSpec) -> None:
        """The run that was to bring them has not."""
        self._known.pop((data_fingerprint or "", spec.protocol), None)


def add_missing(
    jobs: Sequence[Job],
    known: KnownBaselines,
    ledger: Ledger,
    compute: Callable[[RunSpec, str], Sequence[Baseline]],
) -> None:
    """Store the baselines of finished runs that are not known, where no run that is due has them.

    So after other `data.recent_days` or lengths of lists.
    """
    due = {(job.data_fingerprint, _baselines_of(job)) for job in jobs if job.due}
    for job in jobs:
        spec, data_fingerprint = job.configuration.spec, job.data_fingerprint
        if job.earlier_outcome is not Outcome.DONE or known.has(data_fingerprint, spec):
            continue
        if (data_fingerprint, _baselines_of(job)) not in due:
            ledger.add_baselines(compute(spec, data_fingerprint))
            known.add(data_fingerprint, spec)


def _baselines_of(job: Job) -> tuple[str, str, tuple[int, ...]]:
    spec = job.configuration.spec
    return spec.protocol, spec.data.recent_baseline, spec.evaluate.ks
