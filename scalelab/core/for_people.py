"""Write a value of the ledger for people: bytes and seconds with a unit, qualities shortly."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from scalelab.core.units import format_bytes, format_seconds

__all__ = ["with_unit"]

# A view of these columns has nothing but bytes in its other columns.
_COMPONENTS = frozenset({"item_table", "optimizer_state", "activations", "further"})
_NO_BYTES = frozenset({"run_id", "stage", "kind", "source"})
_QUALITY = re.compile(r"(^|_)(ndcg|hr|mrr|recall|coverage|quality)(_|$)")


def with_unit(name: str, value: Any, columns: Sequence[str]) -> str:
    """The value of the column `name`, of a table with these `columns`, as text.

    Bytes and seconds have a unit, qualities four digits; None is "".
    """
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "bytes" in name.split("_") or (_COMPONENTS <= set(columns) and name not in _NO_BYTES):
            return format_bytes(value)
        if name.endswith(("_s", "_s_std")) and not name.endswith("per_s"):
            return format_seconds(value)
        if isinstance(value, float):
            return f"{value:.4f}" if _QUALITY.search(name) else f"{value:.6g}"
    return str(value)
