"""Write in one line of the live view the rankings that every model must beat."""

from collections.abc import Sequence

from rich.text import Text

from scalelab.cli.finished import Reference, name_of_metrics
from scalelab.cli.output import clean
from scalelab.core.figures import metric_name

__all__ = ["baselines_line"]


def baselines_line(found: Sequence[Reference]) -> Text:
    """One line with the rankings that every model must beat, of each data set by its name."""
    several = len({one.metric for one in found}) > 1
    texts: list[str] = []
    places = list(dict.fromkeys((one.dataset, one.num_items) for one in found))
    for place, metric in dict.fromkeys(((o.dataset, o.num_items), o.metric) for o in found):
        own = [o for o in found if ((o.dataset, o.num_items), o.metric) == (place, metric)]
        shown = ", ".join(
            f"{clean(one.name)} {one.test:.4f}" for one in own if one.test is not None
        )
        where = [_place(place, places)] if len(places) > 1 else []
        where += [metric_name(metric)] if several else []
        texts.append(f"{', '.join(where)}: {shown}" if where else shown)
    text = f"baselines, test {name_of_metrics(o.metric for o in found)}: {'; '.join(texts)}"
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def _place(place: tuple[str, int | None], places: Sequence[tuple[str, int | None]]) -> str:
    """Only what distinguishes a data set from the others."""
    dataset, num_items = place
    items = f"{num_items:,} items" if num_items is not None else ""
    if len({name for name, _ in places}) == 1:
        return items
    alike = [name for name, _ in places].count(dataset) > 1
    return f"{clean(dataset)}, {items}" if alike and items else clean(dataset)
