"""Keep the file's own ids of items beside what is numbered: item_ids.parquet."""

import csv
from pathlib import Path

import numpy as np

from scalelab.datasets.readers._workspace import literal, workspace

__all__ = ["read_labels", "write_labels"]

_NAME = "item_ids.parquet"


def write_labels(labels: np.ndarray, folder: Path) -> Path:
    """A table of `row` (of the item table; row 0 is padding) and `item`, the file's own id."""
    out, plain = folder / _NAME, folder / f".{_NAME}.csv"
    kind = "BIGINT" if labels.dtype.kind in "iu" else "VARCHAR"
    try:
        with plain.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
            writer.writerows(enumerate(labels.tolist(), start=1))
        with workspace(out, folder) as connection:
            form = (
                f"read_csv({literal(plain)}, auto_detect = false, header = false, delim = ',', "
                "quote = '\"', escape = '\"', max_line_size = 50000000, buffer_size = 100000000, "
                f"hive_partitioning = false, columns = {{'row': 'BIGINT', 'item': '{kind}'}})"
            )
            copy = f"COPY (SELECT * FROM {form}) TO {literal(out)} (FORMAT parquet)"
            connection.execute(copy)
    finally:
        plain.unlink(missing_ok=True)
    return out


def read_labels(file: Path) -> np.ndarray:
    """The ids that `write_labels` wrote, in the order of rows. Raises DataError."""
    with workspace(file) as connection:
        query = f"SELECT item FROM read_parquet({literal(file)}) ORDER BY row"
        return np.asarray(connection.execute(query).fetchnumpy()["item"])
