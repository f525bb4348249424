"""Run the rounds of `[halving]`: the best configurations of each train for longer in the next."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.study import HalvingSpec, StudySpec
from scalelab.store.ledger import Ledger
from scalelab.studies.grid import Configuration
from scalelab.sweeping.quality import validation_quality

__all__ = ["check_halving", "first_round", "run_rounds"]

_EPOCHS = "train.epochs"


def check_halving(study: StudySpec, overrides: Mapping[str, Any]) -> None:
    """Raises SpecError where `[halving]` meets a search, or epochs that something else sets."""
    if study.halving is None:
        return
    if study.search is not None:
        raise SpecError(f"{study.name}: [halving] and [search] both choose", "take one of them out")
    if _EPOCHS in overrides or any(_EPOCHS in keys for keys in (study.axes, *study.cells)):
        hint = f"take {_EPOCHS} out, or change halving.epochs in the study's file"
        raise SpecError(f"{study.name}: [halving] sets {_EPOCHS} in each round", hint)


def first_round(
    halving: HalvingSpec, configurations: Sequence[Configuration]
) -> list[Configuration]:
    """All configurations, with the epochs of the first round."""
    return _in_round(configurations, halving.epochs[0])


def run_rounds(
    halving: HalvingSpec,
    configurations: Sequence[Configuration],
    *,
    run_round: Callable[[Sequence[Configuration]], Sequence[str] | None],
    ledger: Ledger,
    tell: Callable[[str], None],
) -> None:
    """One round after the other; none begins before the one before it is complete.

    `run_round` runs configurations and returns their fingerprints in the same order, None where it
    was stopped.
    """
    kept, number = list(configurations), len(halving.epochs)
    for place, epochs in enumerate(halving.epochs):
        if place:
            tell(f"round {place + 1} of {number}: {len(kept)} go on, with {epochs} epochs")
        fingerprints = run_round(_in_round(kept, epochs))
        if fingerprints is None:
            return
        kept = _best_of(halving, kept, fingerprints, ledger)


def _in_round(configurations: Sequence[Configuration], epochs: int) -> list[Configuration]:
    """The configurations with so many epochs, which their labels say."""
    return [
        Configuration(
            spec=each.spec.with_({_EPOCHS: epochs}),
            label=f"{each.label} epochs={epochs}".strip(),
            repeat=each.repeat,
        )
        for each in configurations
    ]


def _best_of(
    halving: HalvingSpec,
    configurations: Sequence[Configuration],
    fingerprints: Sequence[str],
    ledger: Ledger,
) -> list[Configuration]:
    """Those with the best mean quality on validation over their seeds, with all their seeds.

    `fingerprints` are those of the round's runs, in the order of `configurations`. One whose runs
    all failed goes no further. Of equal ones the first is kept.
    """
    quality = validation_quality(ledger, fingerprints)
    found: dict[str, list[float]] = {}
    members: dict[str, list[Configuration]] = {}
    for each, fingerprint in zip(configurations, fingerprints, strict=True):
        members.setdefault(each.without_seed, []).append(each)
        if fingerprint in quality:
            found.setdefault(each.without_seed, []).append(quality[fingerprint])
    best = sorted(found, key=lambda key: -sum(found[key]) / len(found[key]))
    kept = set(best[: halving.num_kept(len(members))])
    return [each for key, group in members.items() if key in kept for each in group]
