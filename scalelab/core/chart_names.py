"""Read how a study or a command names a chart: by its name, or by name and options."""

from collections.abc import Mapping
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.locating import locate

__all__ = ["check_chart", "name_and_options"]


def name_and_options(chart: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """`"pareto"`, or `{"name": "pareto", "width": 300}`, in two parts. Raises SpecError."""
    if isinstance(chart, str):
        return chart, {}
    options = dict(chart)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise SpecError(f"a chart without a name: {dict(chart)}", 'write {name = "pareto", ...}')
    return name, options


def check_chart(chart: str | Mapping[str, Any]) -> None:
    """Raises SpecError where there is no such chart. Its options are checked when it is drawn."""
    locate("charts", name_and_options(chart)[0])
