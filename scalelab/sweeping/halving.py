"""Choose the configurations that the next round of `[halving]` trains for longer."""

from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.study import HalvingSpec, StudySpec
from scalelab.store.ledger import Ledger
from scalelab.studies.grid import Configuration

__all__ = ["best_of_round", "check_halving", "in_round"]

_EPOCHS = "train.epochs"
_QUALITY = """
    SELECT fingerprint, avg(valid_ndcg_10) AS quality FROM results
    WHERE list_contains($1, fingerprint) AND valid_ndcg_10 IS NOT NULL GROUP BY fingerprint
"""


def check_halving(study: StudySpec, overrides: Mapping[str, Any]) -> None:
    """Raises SpecError where `[halving]` meets a search, or epochs that something else sets."""
    if study.halving is None:
        return
    if study.search is not None:
        raise SpecError(f"{study.name}: [halving] and [search] both choose", "take one of them out")
    if _EPOCHS in overrides or any(_EPOCHS in keys for keys in (study.axes, *study.cells)):
        hint = f"take {_EPOCHS} out, or change halving.epochs in the study's file"
        raise SpecError(f"{study.name}: [halving] sets {_EPOCHS} in each round", hint)


def in_round(configurations: Sequence[Configuration], epochs: int) -> list[Configuration]:
    """The configurations with so many epochs, which their labels say."""
    return [
        Configuration(
            spec=each.spec.with_({_EPOCHS: epochs}),
            label=f"{each.label} epochs={epochs}".strip(),
            repeat=each.repeat,
        )
        for each in configurations
    ]


def best_of_round(
    halving: HalvingSpec,
    configurations: Sequence[Configuration],
    fingerprints: Sequence[str],
    ledger: Ledger,
) -> list[Configuration]:
    """Those with the best mean of validation NDCG@10 over their seeds, with all their seeds.

    `fingerprints` are those of the round's runs, in the order of `configurations`. One whose runs
    all failed goes no further. Of equal ones the first is kept.
    """
    rows = ledger.query(_QUALITY, [list(fingerprints)]).to_pylist()
    quality = {row["fingerprint"]: row["quality"] for row in rows}
    found: dict[str, list[float]] = {}
    members: dict[str, list[Configuration]] = {}
    for each, fingerprint in zip(configurations, fingerprints, strict=True):
        members.setdefault(each.without_seed, []).append(each)
        if fingerprint in quality:
            found.setdefault(each.without_seed, []).append(quality[fingerprint])
    best = sorted(found, key=lambda key: -sum(found[key]) / len(found[key]))
    kept = set(best[: halving.num_kept(len(members))])
    return [each for key, group in members.items() if key in kept for each in group]
