"""Choose the configurations that `[final]` runs with more seeds, by their validation quality."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.number_of_runs import check_number_of_runs
from scalelab.core.study import FinalSpec, StudySpec
from scalelab.store.ledger import Ledger
from scalelab.store.schema import valid_columns
from scalelab.studies.grid import Configuration, first_configuration, repeat_of
from scalelab.sweeping.quality import validation_quality

__all__ = ["best_configurations", "check_final_seeds"]


def check_final_seeds(
    study: StudySpec, overrides: Mapping[str, Any], configurations: Sequence[Configuration]
) -> None:
    """Raises SpecError, before anything has run, where `[final]` cannot choose.

    A search has no list of configurations beforehand: its first one is checked for all.
    """
    final = study.final
    if final is None:
        return
    if final.by is not None and not final.by.startswith("valid_"):
        hint = 'choose on validation, for example by = "valid_ndcg_10"'
        raise SpecError(f"[final] by = {final.by!r} does not choose on validation", hint)
    if final.by is not None and final.by not in valid_columns():
        hint = f"there are: {', '.join(valid_columns())}"
        raise SpecError(f"[final] by = {final.by!r} is not a column of results", hint)
    checked = configurations or first_configuration(study, overrides)
    groups = {repr(value_at(configuration, final.per)) for configuration in checked}
    check_number_of_runs(study.name, len(groups) * final.seeds, "lower `seeds` of [final]")


def best_configurations(
    final: FinalSpec, fingerprints: Mapping[str, Configuration], ledger: Ledger
) -> list[Configuration]:
    """For each value of `final.per`, the configuration with the best mean `final.by`.

    It comes once per seed, the seeds of `[final]` all. `fingerprints` are the configurations of
    the grid or search. Raises SpecError for a configuration without the field `per`.
    """
    found: dict[str, list[float]] = {}
    first: dict[str, Configuration] = {}
    for fingerprint, value in _values(final.by, fingerprints, ledger).items():
        found.setdefault(fingerprints[fingerprint].without_seed, []).append(value)
    for configuration in fingerprints.values():
        if configuration.without_seed in found and configuration.repeat == 0:
            first.setdefault(configuration.without_seed, configuration)
    best: dict[str, tuple[float, Configuration]] = {}
    for without_seed, configuration in first.items():
        values = found[without_seed]
        mean = sum(values) / len(values)
        group = repr(value_at(configuration, final.per))
        if group not in best or mean > best[group][0]:
            best[group] = mean, configuration
    return [
        repeat_of(configuration, repeat)
        for repeat in range(final.seeds)
        for _, configuration in best.values()
    ]


def _values(column: str | None, fingerprints: Collection[str], ledger: Ledger) -> dict[str, float]:
    """What chooses, by fingerprint of the finished runs."""
    if column is None:
        return validation_quality(ledger, fingerprints)
    rows = ledger.query(
        f'SELECT fingerprint, avg("{column}") AS value FROM results '
        f'WHERE list_contains($1, fingerprint) AND "{column}" IS NOT NULL GROUP BY fingerprint',
        [list(fingerprints)],
    ).to_pylist()
    return {row["fingerprint"]: row["value"] for row in rows}


def value_at(configuration: Configuration, key: str) -> object:
    """The value under a dotted key such as `loss.name` in the spec. Raises SpecError."""
    place: Any = configuration.spec.as_sections()
    for word in key.split("."):
        if isinstance(place, list) and word.isdigit() and int(word) < len(place):
            place = place[int(word)]
        elif isinstance(place, dict) and word in place:
            place = place[word]
        else:
            raise SpecError(
                f"[final] per = {key!r} is not a field of the run", "write for example loss.name"
            )
    return place
