"""Import in advance what the first call of a compiled function would import."""

from typing import Any

from numba.core.registry import cpu_target

__all__ = ["import_numba_parts"]


def import_numba_parts() -> None:
    """Import the 190 modules that numba loads at its first call: 0.4 s of processor in each process
    that is forked afterwards. No function is compiled or run, and no thread starts.
    """
    target: Any = cpu_target  # its contexts are made at the first use, which hides their types
    target.typing_context.refresh()
    target.target_context.refresh()
