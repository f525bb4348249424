"""Describe the device that code runs on, or that a prediction stands for."""

from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["Target", "kind_of_device", "predicted_target"]


class Target(NamedTuple):
    """The device that code runs on, or that a prediction on fake tensors stands for.

    `memory_bytes` is what CUDA offers (0 on a CPU), `triton` whether Triton kernels can run there,
    `multiprocessors` how many it has, with `threads_each` threads at once.
    """

    kind: str
    memory_bytes: int = 0
    capability: tuple[int, int] = (0, 0)
    triton: bool = False
    multiprocessors: int = 132

    @property
    def threads_each(self) -> int:
        """Threads that one multiprocessor holds at once, by compute capability."""
        return {(7, 5): 1024, (8, 6): 1536, (8, 9): 1536, (12, 0): 1536}.get(self.capability, 2048)

    @property
    def tile_bytes(self) -> int:
        """Bytes of one tile: the power of two below a 64th of a GPU's memory, 1 GiB of 80 GB.

        A power of two, so that cards of one kind, whose totals differ by some MiB, agree.
        """
        return 1 << max(20, (self.memory_bytes // 64).bit_length() - 1)


# Set while a step is predicted for another device than the one that its fake tensors are on.
predicted_target: ContextVar[Target | None] = ContextVar("predicted_target", default=None)


def kind_of_device(kind: str) -> str:
    """`kind` itself, "cpu" or "cuda"; during a prediction that of the predicted device."""
    predicted = predicted_target.get()
    return kind if predicted is None else predicted.kind
