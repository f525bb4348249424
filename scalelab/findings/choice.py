"""Choose the best configuration of a comparison, and the cheapest that is about as good."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from scalelab.findings.bootstrap import LEVEL, adjusted, paired_bootstrap
from scalelab.findings.candidates import CLOSE, Candidate, Group
from scalelab.findings.differences import Key
from scalelab.findings.user_ranks import UserGains, comparable, user_gains
from scalelab.findings.verdicts import Baseline
from scalelab.store.ledger import Ledger

__all__ = ["Choice", "choose"]

# What takes a larger share of the memory is not worth a sentence.
_SAVING = 0.95
# Drawings after which a plain tie is known to be one.
_ENOUGH = 500


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a comparison shows by its `metric`.

    `best` is the first on validation, whatever speaks against it. `equal` cannot be distinguished
    from it; `better_on_test` ranks the test users better by more than chance, although validation
    placed it lower. `cheaper` takes clearly less memory and either is among the equal ones
    (`cheaper_is_equal`) or comes close on validation. `untested` counts the configurations without
    ranks of single users, `close_untested` those of them that come close on validation and whose
    spread over seeds is not known either. `p_values` are corrected for their number.
    """

    metric: str
    best: Candidate
    equal: tuple[Candidate, ...]
    better_on_test: tuple[Candidate, ...]
    cheaper: Candidate | None
    cheaper_is_equal: bool
    takes_least_memory: bool
    num_compared: int
    untested: int
    close_untested: int
    num_users: int | None
    p_values: Mapping[Key, float]
    baseline: Baseline | None

    @property
    def is_best(self) -> bool:
        """Whether the first one may be called the best of several."""
        doubts = (self.equal, self.better_on_test, self.nothing_learned, self.below_baseline)
        return bool(self.num_compared) and not any(doubts) and not self.close_untested

    @property
    def below_baseline(self) -> bool:
        """Whether a baseline ranks the test users as well as the first one, or better."""
        return self.baseline is not None and (self.baseline.test or 0.0) >= self.best.test

    @property
    def nothing_learned(self) -> str:
        """Why nothing here has learned anything: "zero", "at_baseline", or ""."""
        if self.best.test <= 0 or self.best.valid <= 0:
            return "zero"
        return "at_baseline" if self.best.at_baseline else ""


def choose(ledger: Ledger, group: Group, baselines: Sequence[Baseline]) -> Choice:
    """The choice of a group that has candidates. Raises LedgerError."""
    best, others = group.candidates[0], group.candidates[1:]
    keys = {one.key for one in group.candidates}
    known = user_gains(ledger, keys, group.metric) if others else {}
    p_values, means = _tested(best, others, known)
    equal = tuple(other for other in others if _is_equal(best, other, p_values))
    better = tuple(
        other
        for other in others
        if other not in equal and p_values.get(other.key, 1.0) < LEVEL and means[other.key] < 0
    )
    cheaper = _cheapest(best, others, equal)
    known_baselines = [one for one in baselines if one.test is not None]
    return Choice(
        metric=group.metric,
        best=best,
        equal=equal,
        better_on_test=better,
        cheaper=cheaper,
        cheaper_is_equal=cheaper in equal,
        takes_least_memory=best.needed_bytes is not None
        and best.needed_bytes == group.least_needed_bytes
        and group.num_with_peak > 1,
        num_compared=len(others),
        untested=sum(other.key not in p_values for other in others),
        close_untested=sum(
            other.key not in p_values
            and not _spreads(best, other)
            and other.valid >= CLOSE * best.valid
            for other in others
        ),
        num_users=len(known[best.key].sums) if best.key in known else None,
        p_values=p_values,
        baseline=max(known_baselines, key=lambda one: one.test or 0.0, default=None),
    )


def _tested(
    best: Candidate, others: Sequence[Candidate], known: Mapping[Key, UserGains]
) -> tuple[dict[Key, float], dict[Key, float]]:
    """Corrected p-values and mean differences of best - other, where both have kept their ranks."""
    own = known.get(best.key)
    pairs = [
        (other.key, found)
        for other in others
        if own is not None
        and (found := known.get(other.key)) is not None
        and comparable(found, own)
    ]
    if own is None:
        return {}, {}
    differences = {
        key: paired_bootstrap(own.sums, found.sums, num_lists=own.num_lists, enough=_ENOUGH)
        for key, found in pairs
    }
    p_values = adjusted([one.p_value for one in differences.values()])
    means = {key: one.mean for key, one in differences.items()}
    return dict(zip(differences, p_values, strict=True)), means


def _is_equal(best: Candidate, other: Candidate, p_values: Mapping[Key, float]) -> bool:
    """Whether chance alone may be what sets the two apart.

    The bootstrap covers other users; the spread over seeds, where it is known, another
    start of the training. Without both only the same figures are taken as equal.
    """
    spreads = _spreads(best, other)
    if spreads and abs(best.test - other.test) <= max(spreads):
        return True
    if other.key in p_values:
        return p_values[other.key] >= LEVEL
    return (best.valid, best.test) == (other.valid, other.test)


def _spreads(*some: Candidate) -> list[float]:
    return [one.test_std for one in some if one.test_std is not None]


def _cheapest(
    best: Candidate, others: Sequence[Candidate], equal: Collection[Candidate]
) -> Candidate | None:
    """The one of least memory that saves some and is equal or close; never one without a result.

    Memory is what a run needs: where evaluation has the peak, a smaller training saves nothing.
    Of several that need the same, which evaluation makes common, the best is taken.
    """
    needed = best.needed_bytes
    if needed is None:
        return None
    found = [
        (size, other)
        for other in others
        if (size := other.needed_bytes) is not None
        and size <= _SAVING * needed
        # Without the peak of its evaluation nobody knows that it needs less.
        and (other.eval_peak_bytes is not None or best.eval_peak_bytes is None)
        and (other in equal or other.valid >= CLOSE * best.valid)
        and other.test > 0
        and (not other.at_baseline or best.at_baseline)
    ]
    found.sort(key=lambda pair: (pair[0], -pair[1].valid, pair[1].peak_bytes or 0))
    return found[0][1] if found else None
