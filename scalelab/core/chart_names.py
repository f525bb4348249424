"""Read how a study or a command names a chart: by its name, or by name and options."""

from collections.abc import Mapping
from typing import Any

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra, SpecError
from scalelab.core.locating import locate

__all__ = ["by_metric", "check_chart", "name_and_options"]


def name_and_options(chart: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """`"pareto"`, or `{"name": "pareto", "width": 300}`, in two parts. Raises SpecError."""
    if isinstance(chart, str):
        return chart, {}
    options = dict(chart)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise SpecError(f"a chart without a name: {dict(chart)}", 'write {name = "pareto", ...}')
    return name, options


def by_metric(
    chart: str | Mapping[str, Any], metric: str | None, *, is_named: bool = False
) -> tuple[str, dict[str, Any]]:
    """Name and options of a chart, with this metric where it takes one and has none of its own.

    Raises SpecError where it `is_named` for the metric and takes none.
    """
    name, options = name_and_options(chart)
    if metric is None or "metric" in options:
        return name, options
    if takes_metric(name):
        return name, {**options, "metric": metric}
    if is_named:
        taking = ", ".join(one for one in plugins.available("charts") if takes_metric(one))
        raise SpecError(f"the chart {name!r} shows no metric", f"those that do: {taking}")
    return name, options


def takes_metric(name: str) -> bool:
    """Whether a chart of that name is here and shows the metric that is chosen."""
    try:
        return "metric" in plugins.options("charts", name)
    except (MissingExtra, SpecError):
        return False  # what draws the chart says why it is not there


def check_chart(chart: str | Mapping[str, Any]) -> None:
    """Raises SpecError where there is no such chart. Its options are checked when it is drawn."""
    locate("charts", name_and_options(chart)[0])
