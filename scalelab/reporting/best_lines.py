"""Query the lines of a chart that draws the best configurations by a metric, and name rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from scalelab.findings.differences import describe, key_of
from scalelab.reporting.quality import metric_of
from scalelab.store.ledger import Ledger

__all__ = ["NAMES", "best_lines", "names_of"]

# The columns that name a line.
NAMES = {"place": pa.string(), "label": pa.string(), "usual": pa.string(), "metric": pa.string()}


def best_lines(
    ledger: Ledger, sql: str, *, metric: str | None, study: str | None, most: int
) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The table of `sql`, which takes $study, $most, $name and $k, and the `NAMES` of each row.

    Raises SpecError where the ledger does not have the metric.
    """
    chosen = metric_of(ledger, metric, study)
    parameters = {"study": study, "most": most, "name": chosen.name, "k": chosen.k}
    table = ledger.query(sql, parameters)
    return table, [names | {"metric": chosen.title} for names in names_of(table.to_pylist())]


def names_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each row the panel that it is in, its name there, and the settings that most have."""
    described = describe(rows)
    return [
        {
            "place": f"{described[key_of(row)].data}, {row['device'] or 'unknown device'}",
            "label": described[key_of(row)].label,
            "usual": described[key_of(row)].usual,
        }
        for row in rows
    ]
