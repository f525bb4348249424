"""Say under a table what was chosen, what was left out, and what its marks mean."""

from collections.abc import Iterator

from scalelab.core.figures import metric_name
from scalelab.findings.bootstrap import LEVEL
from scalelab.findings.metrics import metrics_in_words
from scalelab.findings.order import lost_in_words
from scalelab.result_tables.candidates import Candidate
from scalelab.result_tables.grouping import Grouped
from scalelab.result_tables.significance import Significance

__all__ = ["notes_of"]

_KINDS = {"requested": "live tensors", "allocated": "what the CUDA allocator handed out"}


def notes_of(grouped: Grouped, significance: Significance, *, has_baselines: bool) -> Iterator[str]:
    """Sentences, the most important first."""
    chosen = grouped.chosen
    metrics = sorted({one.columns["quality_metric"] for one in chosen.values()})
    by = metric_name(metrics[0]) if len(metrics) == 1 else f"metric ({metrics_in_words(metrics)})"
    yield (
        f"Test results of the configuration with the best validation {by} in each row"
        + (" and data set." if len(grouped.columns) > 1 else ".")
    )
    seeds = sorted({one.columns["num_seeds"] for one in chosen.values()})
    if seeds == [1]:
        yield "One seed each: no spread is known."
    else:
        number = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        yield f"Mean and sample standard deviation over {number} seeds."
        if seeds[0] == 1:
            yield "Figures without a deviation come from one seed."
    yield (
        "Bold: the best of each data set and metric; underlined: the second; "
        "figures that are printed alike share a mark."
    )
    yield from _tests(grouped, significance)
    if has_baselines:
        yield "Baselines need no training and take part in the ranking."
    kinds = sorted({str(one.columns["peak_kind"]) for one in chosen.values()})
    yield f"Memory is the peak of training: {', or '.join(_KINDS.get(k, k) for k in kinds)}."
    threads = sorted({one.columns["threads"] or 0 for one in chosen.values()})
    if len(threads) > 1:
        yield f"Times do not compare: runs had {' or '.join(map(str, threads))} threads."
    yield from _lost(grouped)
    yield from _verdicts(grouped)
    yield from _settings(grouped)


def _tests(grouped: Grouped, significance: Significance) -> Iterator[str]:
    """What a dagger means, and which differences nobody tested."""
    if not significance.p_values:
        if significance.untested:
            yield (
                "Differences were not tested for significance: "
                "the ranks of single users were not kept."
            )
        return
    first = " and ".join(
        _where(grouped, row, column)
        for row, column in grouped.chosen
        if (row, column) in significance.first
    )
    each = " of its data" if len(significance.first) > 1 else ""
    yield (
        f"A dagger (\N{DAGGER}) marks what differs by more than chance from the first on "
        f"validation{each}, {first}: paired bootstrap over test users with Holm's correction, "
        f"p < {LEVEL:g}, and further away than the standard deviation over seeds."
    )
    if significance.untested:
        yield (
            f"{significance.untested} differences were not tested, as the ranks of single users "
            "were not kept."
        )


def _lost(grouped: Grouped) -> Iterator[str]:
    for (row, column), one in grouped.chosen.items():
        if lost := lost_in_words(one.columns):
            yield f"{_where(grouped, row, column)}: {lost} and are not counted."


def _verdicts(grouped: Grouped) -> Iterator[str]:
    """What ended at a baseline, below one, or while it still rose: its figures say little."""
    places: dict[str, list[str]] = {}
    for (row, column), one in grouped.chosen.items():
        if one.note:
            places.setdefault(one.note, []).append(_where(grouped, row, column))
    for note, found in places.items():
        yield f"{'; '.join(found)}: {note}."


def _settings(grouped: Grouped) -> Iterator[str]:
    """The settings that were chosen in each row, column by column where they differ."""
    for row in grouped.rows:
        own = {
            column: one for column in grouped.columns if (one := grouped.chosen.get((row, column)))
        }
        if not any(one.label for one in own.values()):
            continue
        texts = {column: _label(one, grouped.numbers[row, column]) for column, one in own.items()}
        head = ", ".join(name for name in grouped.rows[row] if name != "-") or "-"
        if len(set(texts.values())) == 1:
            yield f"{head}: {next(iter(texts.values()))}."
        else:
            parts = (f"{', '.join(grouped.columns[c])}: {text}" for c, text in texts.items())
            yield f"{head}: {'; '.join(parts)}."
    usual = next(iter(grouped.chosen.values())).usual
    if usual:
        yield f"Where a setting is not named: {usual}."


def _label(one: Candidate, number: int) -> str:
    return f"{one.label} (best of {number})" if number > 1 else one.label


def _where(grouped: Grouped, row: tuple[object, ...], column: tuple[object, ...]) -> str:
    names = grouped.rows[row]
    if len(grouped.columns) > 1:
        names = (*names, *grouped.columns[column])
    return ", ".join(name for name in names if name != "-")
