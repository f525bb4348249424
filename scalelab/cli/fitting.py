"""Choose the columns of a query's rows that fit the screen, and write values with units."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.cli.output import clean
from scalelab.core import for_people

__all__ = ["fitting_columns", "folded", "selects_all", "shared_values", "with_unit"]

# What people look for first in the views, in this order, as far as it differs between rows.
_WANTED = (
    "dataset", "num_items", "loss", "test_quality", "test_ndcg_10", "peak_bytes", "batch_size",
    "num_negatives", "model", "rounds", "n_chunks", "n_extra_chunks", "n_buckets", "train_s",
    "num_seeds", "seed", "test_ndcg_10_std", "valid_quality", "valid_ndcg_10", "max_len",
    "hidden_dim",
)  # fmt: skip


def selects_all(sql: str) -> bool:
    """Whether a query names no columns, so that the screen may choose among them."""
    return re.match(r"\s*(from\b|select\s+\*\s+from\b)", sql, re.IGNORECASE) is not None


def with_unit(name: str, value: Any, columns: Sequence[str]) -> str:
    """A value for people, in which nothing controls the terminal."""
    return clean(for_people.with_unit(name, value, columns))


def shared_values(columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The columns whose value is the same in all of several rows, with that value."""
    return {
        name: values[0]
        for name, values in columns.items()
        if len(values) > 1 and len({*values}) == 1
    }


def fitting_columns(columns: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The names of columns that fit side by side into `width`, in their own order.

    What differs between the rows comes before what they share, the usual columns before others.
    Where the quality is NDCG@10, it is shown once, under that name.
    """
    shared = shared_values(columns)
    twice = {
        name
        for name, values in columns.items()
        if "quality" in name and columns.get(name.replace("quality", "ndcg_10")) == values
    }
    rank = {name: place for place, name in enumerate(_WANTED)}
    order = sorted(columns, key=lambda name: (name in shared, rank.get(name, len(rank))))
    chosen: set[str] = set()
    space = width
    for name in order:
        heads = folded(name, columns[name]).split("\n")
        wide = max(map(len, (*heads, *columns[name]))) + 3
        if name not in shared and name not in twice and wide <= space and wide <= width // 2:
            chosen.add(name)
            space -= wide
    return [name for name in columns if name in chosen]


def folded(name: str, values: Sequence[str]) -> str:
    """The head of a column in several lines, broken after underscores, no wider than need be."""
    parts = re.findall(r"[^_]*_|[^_]+", name) or [name]
    width = max(map(len, (*parts, *values)))
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return "\n".join(lines)
