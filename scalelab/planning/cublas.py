"""Compute the bytes that cuBLAS takes from PyTorch's allocator, and find the calls that take them.

PyTorch gives each thread's handle one workspace at its first product and keeps it. Sizes come from
PyTorch's binaries and sources (2.11 to 2.14); an H200 with torch 2.11 has confirmed its own.
"""

from typing import Any

import torch

from scalelab.core.units import KIB, MIB
from scalelab.planning.devices import DeviceProfile

__all__ = ["Workspaces", "cublas_workspace_bytes", "lt_workspace_bytes", "workspaces_for"]

aten = torch.ops.aten
_PRODUCTS = frozenset(
    {aten.mm, aten.addmm, aten.addmm_, aten.bmm, aten.baddbmm, aten.baddbmm_, aten.addmv, aten.mv}
)
_OF_HOPPER, _OF_OTHERS = 32 * MIB, 8320 * KIB


def cublas_workspace_bytes(capability: tuple[int, int], torch_version: str) -> int:
    """The default workspace of one handle on a GPU of that compute capability."""
    if _release(torch_version) >= (2, 13):
        return _OF_HOPPER if capability[0] in (9, 10, 12) else _OF_OTHERS
    return _OF_HOPPER if capability == (9, 0) else _OF_OTHERS


def lt_workspace_bytes(torch_version: str) -> int:
    """What products with a bias take beside it: from 2.13 on they share the same workspace."""
    return 0 if _release(torch_version) >= (2, 13) else MIB


class Workspaces:
    """Notes the event of an account at which each thread makes cuBLAS allocate its workspace.

    `noted` is a list of (event, bytes). Forward and backward pass run in threads of their own; a
    product with a bias, which is cublasLt's, has a workspace of its own before torch 2.13.
    """

    def __init__(self, workspace_bytes: int, lt_bytes: int) -> None:
        self._sizes = {"cublas": workspace_bytes, "lt": lt_bytes}
        self._known: set[tuple[str, bool]] = set()
        self.noted: list[tuple[int, int]] = []

    def note(self, func: Any, args: tuple[Any, ...], event: int) -> None:
        """`func` is about to run, as event `event`."""
        packet = getattr(func, "overloadpacket", None)
        if packet not in _PRODUCTS:
            return
        backward = torch._C._current_autograd_node() is not None
        kinds = ["cublas"]
        if packet is aten.addmm and args[0].dim() == 1:
            kinds.append("lt")
        for kind in kinds:
            if self._sizes[kind] and (kind, backward) not in self._known:
                self._known.add((kind, backward))
                self.noted.append((event, self._sizes[kind]))


def workspaces_for(device: DeviceProfile) -> Workspaces:
    """Of the size that was measured on the device, else of the one that torch requests there."""
    version = torch.__version__
    size = device.cublas_bytes
    if size is None:  # not measured
        size = cublas_workspace_bytes(device.capability, version)
    return Workspaces(size, lt_workspace_bytes(version))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2])
