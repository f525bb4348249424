"""The name or file of a device profile in, its memory, speeds and allocator constants out."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, PositiveFloat

from scalelab.core.errors import SpecError
from scalelab.core.presets import find_preset
from scalelab.core.spec import RunSpec
from scalelab.core.tables import Table, checked, read_toml
from scalelab.core.units import MIB, format_bytes, parse_bytes
from scalelab.measure.environment import device_bytes

__all__ = ["DeviceProfile", "calibrated_file", "device_for", "load_device", "this_machine"]


def _size(value: Any) -> int:
    if value in (0, "0", "0B"):
        return 0
    try:
        return parse_bytes(value)
    except SpecError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error


_Bytes = Annotated[int, BeforeValidator(_size)]


class _Tflops(Table, frozen=True):
    fp32: PositiveFloat
    bf16: PositiveFloat


class _Estimates(Table, frozen=True):
    """`efficiency` is the range of the share of peak speed that a step reaches."""

    context: _Bytes = 0
    launch_us: PositiveFloat = 6.0
    efficiency: tuple[PositiveFloat, PositiveFloat] = (0.35, 0.9)


class _Cublas(Table, frozen=True):
    workspace: _Bytes = 0


class _File(Table, frozen=True):
    name: str
    kind: Literal["cpu", "cuda"]
    capability: Annotated[str, Field(pattern=r"^\d+\.\d+$")] = "0.0"
    memory: _Bytes
    bandwidth_gb_s: PositiveFloat
    tflops: _Tflops
    estimates: _Estimates = _Estimates()
    cublas: _Cublas = _Cublas()


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """One device: bytes it has, bytes and operations a second, and what a process costs on it.

    `efficiency` is (low, high): the share of the peak speeds that a whole step was seen to reach.
    """

    name: str
    kind: Literal["cpu", "cuda"]
    memory_bytes: int
    bytes_per_s: float
    flops: dict[str, float]
    launch_s: float
    efficiency: tuple[float, float]
    capability: tuple[int, int] = (0, 0)
    context_bytes: int = 0
    cublas_bytes: int = 0


def load_device(name: str | Path | None) -> DeviceProfile:
    """A shipped profile, a file, or (None) this machine. Raises SpecError with the nearest name."""
    if name is None:
        return this_machine()
    return _read(find_preset("devices", name))


def device_for(spec: RunSpec) -> DeviceProfile:
    """The device of this machine that the run names. Raises SpecError for a GPU that is not there.

    A run on the CPU of a machine with a GPU is one of the CPU.
    """
    machine = this_machine()
    kind = spec.device.name.partition(":")[0]
    if kind in (machine.kind, "auto"):
        return machine
    if kind == "cpu":
        memory = device_bytes(torch.device("cpu"))
        near = _read(find_preset("devices", "cpu"))
        return replace(near, name="this machine", memory_bytes=memory or near.memory_bytes)
    raise SpecError(
        f"no CUDA GPU answers for {spec.device.name!r}", "name a device profile with --on"
    )


def calibrated_file() -> Path:
    """Where `scalelab doctor --calibrate` keeps the profile of this machine."""
    home = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(home) if home else Path.home() / ".config"
    return folder / "scalelab" / "this-machine.toml"


def this_machine() -> DeviceProfile:
    """This machine: calibrated figures where there are some, else those of the nearest profile.

    The GPU if there is one, else the CPU; its memory is read from the machine itself.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    memory = device_bytes(device)
    if calibrated_file().is_file():
        profile = _read(calibrated_file())
        if profile.kind == device.type:
            return profile if memory is None else replace(profile, memory_bytes=memory)
    near = _read(find_preset("devices", "cpu" if device.type == "cpu" else "a100-40"))
    name = "this machine" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return replace(near, name=name, memory_bytes=memory or near.memory_bytes)


def _read(path: Path) -> DeviceProfile:
    file = checked(_File, read_toml(path), str(path))
    low, high = file.estimates.efficiency
    if low > high:
        raise SpecError(f"{path}: efficiency must be [low, high], got [{low}, {high}]", "swap them")
    if file.memory < MIB:
        size = format_bytes(file.memory)
        raise SpecError(
            f"{path}: memory is {size}", "write the memory of the device, such as 24GiB"
        )
    return DeviceProfile(
        name=file.name,
        kind=file.kind,
        memory_bytes=file.memory,
        bytes_per_s=file.bandwidth_gb_s * 1e9,
        flops={"fp32": file.tflops.fp32 * 1e12, "bf16": file.tflops.bf16 * 1e12},
        launch_s=file.estimates.launch_us * 1e-6,
        efficiency=(low, high),
        capability=_capability(file.capability),
        context_bytes=file.estimates.context,
        cublas_bytes=file.cublas.workspace,
    )


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)
