"""Explain the kinds of memory, and decide which of them stands for a run.

The five numbers that people mix up: each counts all of the one before it and something more.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["KINDS", "Sizes", "limited_kind", "peak_kind", "reconciled"]

# Bytes by stage, kind and component; None where a figure could not be read.
Sizes = Mapping[str, Mapping[str, Mapping[str, int | None]]]

STAGES = ("train", "eval", "process")
KINDS = {
    "requested": "live tensors, and the scratch of operations while they run",
    "allocated": "the allocator rounds up to 512 bytes, and cuBLAS has its workspaces from it",
    "reserved": "free space in the segments that the allocator keeps for later",
    "device_used": "CUDA's context and kernels, and other processes on the GPU, as NVML counts it",
    "host_rss": "the whole process on the host: Python, libraries, data",
}


def peak_kind(device: str) -> str:
    """The kind of memory whose peak stands for a run: `requested` on a CPU, `allocated` on CUDA.

    Where it could not be read, the other kind does not take its place.
    """
    return "allocated" if device.startswith("cuda") else "requested"


def limited_kind(device: str) -> str:
    """The kind of memory held against a limit: live tensors on a CPU (`requested`), on CUDA what
    the process's allocator keeps (`reserved`).
    """
    return "reserved" if device.startswith("cuda") else "requested"


def reconciled(memory: Sizes, reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """`kind`, `train`, `eval`, `process` (bytes or None), `adds`, `why`: one row a kind.

    `adds` is how far the highest peak of a kind is above that of the last kind before it that could
    be read; the host's memory is compared only where the tensors lie there too. `why` says what is
    added, or the reason why nothing could be read.
    """
    rows: list[dict[str, Any]] = []
    before: tuple[str, int] | None = None
    for kind, words in KINDS.items():
        sizes = {s: memory.get(s, {}).get(kind, {}).get("total") for s in STAGES}
        peak = max((size for size in sizes.values() if size is not None), default=None)
        adds = None
        if peak is None:
            words = next((reasons[f"{s}.{kind}"] for s in STAGES if f"{s}.{kind}" in reasons), "")
        elif before is not None and (kind != "host_rss" or before[0] == "requested"):
            adds = peak - before[1]
        rows.append({"kind": kind, **sizes, "adds": adds, "why": words})
        if peak is not None:
            before = kind, peak
    return rows
