"""Decide which configurations a page holds: all, or those that matter where there are very many."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from scalelab.core.dominance import BEST_FIRST
from scalelab.core.identity import COMPARABLE_IN_TIME
from scalelab.store.ledger import Ledger

__all__ = ["MOST", "OF_STUDY", "SHOWN", "ids", "not_shown", "num_configurations"]

# More rows than people read, and than a browser draws at once.
MOST = 2000
_BEST = 5
# For a WHERE over runs: those of the study, with those that it took from another one.
OF_STUDY = """($study IS NULL OR study_id = $study OR fingerprint IN (
    SELECT fingerprint FROM reused_runs WHERE reused_runs.study_id = $study
))"""
# Ids of the configurations on the page. Above MOST: the Pareto fronts, and the best of each loss.
SHOWN = f"""
SELECT configuration FROM (
    SELECT configuration, count(*) OVER () AS of_all, row_number() OVER (
        PARTITION BY {", ".join(COMPARABLE_IN_TIME)}, loss
        ORDER BY {BEST_FIRST}, configuration
    ) AS turn
    FROM configurations
)
WHERE of_all <= {MOST} OR turn <= {_BEST}
UNION SELECT configuration FROM pareto_memory WHERE (SELECT count(*) FROM configurations) > {MOST}
UNION SELECT configuration FROM pareto_time WHERE (SELECT count(*) FROM configurations) > {MOST}
"""


def num_configurations(ledger: Ledger) -> int:
    """How many configurations have a result."""
    return ledger.query("SELECT count(*) AS n FROM configurations")["n"][0].as_py()


def not_shown(rows: pa.Table) -> list[str]:
    """A line for below a chart of very many configurations: how many of them it does not draw.

    `num_compared` of a row counts those of its comparison.
    """
    orders, numbers = (rows[name].to_pylist() for name in ("comparison_order", "num_compared"))
    compared = dict(zip(orders, numbers, strict=True))
    number = sum(compared.values()) - rows.num_rows
    if number <= 0:
        return []
    return [f"the Pareto fronts and the best of each loss are drawn, and {number:,} others are not"]


def ids(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of the configurations of `rows`."""
    return {row["configuration"] for row in rows}
