"""Say in words from which configuration to which the Pareto front of memory goes."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["front_sentence"]


def front_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ends of the Pareto front of one comparison; "" where there is none.

    `num_compared` of a row counts all that are compared: of very many, `rows` has the best alone.
    """
    number = max((row["num_compared"] for row in rows), default=0)
    front = [row for row in rows if row["on_memory_front"]]
    if not front or len(rows) < 2:
        return ""  # one configuration is not better than another
    front.sort(key=lambda row: row["peak_bytes"])
    least, most = front[0], front[-1]
    if least is most:
        # What beats another of these rows may be none of these rows itself.
        best = max(row["valid_quality"] for row in rows)
        if least["valid_quality"] == best and least["peak_bytes"] == min(
            row["peak_bytes"] for row in rows
        ):
            return (
                f"{least['label']} is best on validation and takes the least memory, "
                f"{least['peak']}: the Pareto front is this one configuration."
            )
        return (
            f"One of {number:,} configurations is on the Pareto front of memory: "
            f"{least['label']} (test {least['metric']} {least['test_quality']:.4f} at "
            f"{least['peak']})."
        )
    return (
        f"{len(front)} of {number:,} configurations are on the Pareto front of memory: from "
        f"{least['label']} (test {least['metric']} {least['test_quality']:.4f} at "
        f"{least['peak']}) to {most['label']} "
        f"({most['test_quality']:.4f} at {most['peak']})."
    )
