"""Write a data set to disk in compact format, be it read from files or generated."""

from pathlib import Path
from typing import Any

from scalelab.datasets.compact import new_folder, write_compact
from scalelab.datasets.load import Dataset

__all__ = ["convert"]


def convert(dataset: Dataset, out: Path) -> dict[str, Any]:
    """Reads, filters and writes the folder `out`, memory-mapped all the way. Returns what it holds.

    Afterwards `data.path = out` reads the same interactions with the same fingerprint. Raises
    DataError.
    """
    with new_folder(out) as folder:
        interactions = dataset.load(folder)
        write_compact(interactions, folder)
        total = sum(file.stat().st_size for file in folder.iterdir())
        return {
            "path": str(out),
            "fingerprint": interactions.fingerprint,
            "num_users": interactions.num_users,
            "num_items": interactions.num_items,
            "num_interactions": interactions.num_interactions,
            "times": _times(interactions.times is not None, interactions.time_is_order),
            "bytes": total,
            "dropped": dict(interactions.dropped),
        }


def _times(has_times: bool, is_order: bool) -> str:
    if not has_times:
        return "none"
    return "order" if is_order else "clock"
