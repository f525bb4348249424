"""Write and read item_ids.parquet and user_ids.parquet: the own ids that the user's file has."""

import csv
from pathlib import Path

import numpy as np

from scalelab.datasets.readers._connection import literal, workspace

__all__ = ["read_original_ids", "write_original_ids"]

_SUFFIX = "_ids"


def write_original_ids(original_ids: np.ndarray, folder: Path, of: str = "item") -> Path:
    """A table of `row` (from 1, as in the model's table) and `item`, or "user": the own id."""
    name = f"{of}{_SUFFIX}.parquet"
    out, plain = folder / name, folder / f".{name}.csv"
    kind = "BIGINT" if original_ids.dtype.kind in "iu" else "VARCHAR"
    try:
        with plain.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
            writer.writerows(enumerate(original_ids.tolist(), start=1))
        with workspace(out, [plain, out], folder) as connection:
            scan = (
                f"read_csv({literal(plain)}, auto_detect = false, header = false, delim = ',', "
                "quote = '\"', escape = '\"', max_line_size = 50000000, buffer_size = 100000000, "
                f"hive_partitioning = false, columns = {{'row': 'BIGINT', '{of}': '{kind}'}})"
            )
            options = "FORMAT parquet, USE_TMP_FILE false"
            connection.execute(f"COPY (SELECT * FROM {scan}) TO {literal(out)} ({options})")
    finally:
        plain.unlink(missing_ok=True)
    return out


def read_original_ids(file: Path) -> np.ndarray:
    """The ids that `write_original_ids` wrote, in the order of rows. Raises DataError."""
    with workspace(file, [file]) as connection:
        column = file.stem.removesuffix(_SUFFIX)
        query = f"SELECT {column} FROM read_parquet({literal(file)}) ORDER BY row"
        return np.asarray(connection.execute(query).fetchnumpy()[column])
