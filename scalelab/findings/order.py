"""Order the configurations of a ledger by what speaks for them on validation."""

from collections.abc import Mapping
from typing import Any

__all__ = ["lost_in_words", "order_of"]


def order_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The smallest is the best: `row` has columns of the view `configurations`.

    One that lost seeds comes after all others, whatever its quality: the seeds that are left may be
    the lucky ones. Of equal quality the one of less training memory comes first; an unknown memory
    comes after all known ones.
    """
    valid, peak = row["valid_quality"], row["peak_bytes"]
    return (
        row["num_lost"] > 0,
        valid is None,
        -(valid or 0.0),
        peak is None,
        peak or 0,
        row["configuration"],
    )


def lost_in_words(row: Mapping[str, Any]) -> str:
    """How many seeds of a configuration ended without a result; "" for none."""
    lost, total = row["num_lost"], row["num_lost"] + row["num_seeds"]
    return f"{lost} of {total} seeds ended without a result" if lost else ""
