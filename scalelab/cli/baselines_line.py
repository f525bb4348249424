"""Show the rankings that every model must beat in few lines."""

from collections.abc import Sequence

from rich.text import Text

from scalelab.cli.finished import Reference, name_of_metrics
from scalelab.cli.output import clean
from scalelab.core.figures import metric_name

__all__ = ["baselines_lines"]

# A screen has few lines.
_MOST = 2


def baselines_lines(found: Sequence[Reference], width: int) -> list[Text]:
    """The rankings that every model must beat: on one line, or where that is wider than `width`,
    on one for each of the first data sets.
    """
    places: dict[tuple[str, ...], dict[str, float]] = {}
    for one in found:
        figures = places.setdefault(_parts(one), {})
        if one.test is not None:
            figures[one.name] = one.test
    texts: list[str] = []
    for place, figures in places.items():
        shown = ", ".join(f"{clean(name)} {test:.4f}" for name, test in figures.items())
        named = ", ".join(_distinguishing(place, list(places)))
        texts.append(f"{named}: {shown}" if len(places) > 1 else shown)
    head = f"baselines, test {name_of_metrics(one.metric for one in found)}:"
    lines = [f"{head} {'; '.join(texts)}"]
    if len(lines[0]) > width and len(texts) > 1:
        more = len(texts) - _MOST
        lines = [f"{head} {more} more data sets, and" if more > 0 else head, *texts[:_MOST]]
    return [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines]


def _parts(one: Reference) -> tuple[str, ...]:
    """What names the data, protocol and metric of a baseline, the best known first."""
    sizes = ((one.num_items, "items"), (one.num_users, "users"))
    return (
        clean(one.dataset),
        *(f"unknown {what}" if count is None else f"{count:,} {what}" for count, what in sizes),
        clean(one.protocol),
        metric_name(one.metric),
        f"data {one.data_fingerprint}",
    )


def _distinguishing(place: tuple[str, ...], places: Sequence[tuple[str, ...]]) -> list[str]:
    """Only the parts that distinguish a data set from the others."""
    named: list[str] = []
    alike = places
    for number, part in enumerate(place):
        same = [other for other in alike if other[number] == part]
        if len(same) < len(alike):
            named.append(part)
        alike = same
    return named
