"""Write data sets to disk in compact form: files converted, synthetic data generated."""

from pathlib import Path
from typing import Any

from scalelab.core.spec import DataSpec
from scalelab.datasets._folder import new_folder, write_compact, write_item_ids
from scalelab.datasets.load import load, synthetic_options

__all__ = ["convert", "write_item_ids"]


def convert(data: DataSpec, out: Path) -> dict[str, Any]:
    """Reads, filters and writes the folder `out`, memory-mapped all the way. Returns what it holds.

    Afterwards `data.path = out` reads the same interactions with the same fingerprint. Raises
    DataError, SpecError.
    """
    with new_folder(out) as folder:
        interactions = load(data, folder)
        options = None if interactions.dropped else synthetic_options(data)
        write_compact(interactions, folder, options)
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
