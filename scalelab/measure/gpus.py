"""Find the GPUs that CUDA offers to this process, without starting CUDA in it.

The process that drives a sweep calls this: a CUDA context of its own would take half a gigabyte of
the GPU that its runs are measured on.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec

__all__ = ["Gpu", "check_device", "chosen", "on_this_machine", "visible_gpus"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU. `memory_bytes` is what CUDA can give: not what the driver keeps for itself.

    `is_sliced`: in MIG mode, where CUDA offers a part of it only.
    """

    uuid: str
    name: str
    memory_bytes: int
    capability: tuple[int, int]
    is_sliced: bool = False


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this process, in CUDA's order; none where torch cannot use any."""
    order = os.environ.get("CUDA_DEVICE_ORDER")
    return _visible(os.environ.get("CUDA_VISIBLE_DEVICES"), order == "PCI_BUS_ID")


@cache  # the driver may take a second to answer, and each configuration of a study needs it
def _visible(visible: str | None, by_bus: bool) -> tuple[Gpu, ...]:
    # Only now: the probe names its GPUs by the class above.
    from scalelab.measure.probes.nvml import Nvml

    if not torch.backends.cuda.is_built():
        return ()
    found = Nvml.gpus()
    if found is None or not _in_cudas_order(found, visible, by_bus):
        _LOG.info("NVML cannot say which GPUs CUDA offers: CUDA itself is queried")
        return _gpus_of_cuda()
    newest = Nvml.cuda_version()
    needed = int((torch.version.cuda or "0").partition(".")[0])
    if newest is not None and newest < needed:
        _LOG.warning("the driver knows CUDA %d, this torch needs CUDA %d", newest, needed)
        return ()
    return chosen(found, visible)


def chosen(gpus: Sequence[Gpu], visible: str | None) -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES names, by index or by UUID, as CUDA reads it.

    What comes after a name that fits nothing is ignored; one GPU named twice leaves none.
    """
    if visible is None:
        return tuple(gpus)
    found: list[Gpu] = []
    for word in (word.strip() for word in visible.split(",")):
        if word.startswith("GPU-"):
            fitting = [gpu for gpu in gpus if gpu.uuid.startswith(word)]
        else:
            fitting = [gpus[int(word)]] if word.isdigit() and int(word) < len(gpus) else []
        if len(fitting) != 1:
            break
        if fitting[0] in found:
            return ()
        found += fitting
    return tuple(found)


def on_this_machine(spec: RunSpec) -> RunSpec:
    """The spec with a device instead of `auto`: cuda where a GPU answers, else cpu."""
    if spec.device.name != "auto":
        return spec
    name = "cuda" if visible_gpus() else "cpu"
    return spec.model_copy(update={"device": spec.device.model_copy(update={"name": name})})


def check_device(name: str) -> None:
    """Raises SpecError where this machine has no such device."""
    kind, _, index = name.partition(":")
    if kind != "cuda":
        return
    number = len(visible_gpus())
    if number == 0:
        raise SpecError(f"no CUDA GPU found for {name!r}", "write --device cpu")
    if index and int(index) >= number:
        there = "one GPU" if number == 1 else f"{number} GPUs"
        last = "cuda:0" if number == 1 else f"cuda:0 to cuda:{number - 1}"
        raise SpecError(f"no device {name!r}: CUDA offers {there} here", f"write {last}")


def _in_cudas_order(gpus: Sequence[Gpu], visible: str | None, by_bus: bool) -> bool:
    """NVML counts by bus, CUDA the fastest first, and slices of a GPU are not NVML's GPUs."""
    if any(gpu.is_sliced for gpu in gpus) or "MIG-" in (visible or ""):
        return False
    return by_bus or len({gpu.name for gpu in gpus}) <= 1


def _gpus_of_cuda() -> tuple[Gpu, ...]:
    if not torch.cuda.is_available():
        return ()
    found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return tuple(
        Gpu(
            uuid=f"GPU-{each.uuid}",
            name=each.name,
            memory_bytes=each.total_memory,
            capability=(each.major, each.minor),
        )
        for each in found
    )
