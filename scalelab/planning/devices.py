"""Read the profile of a device: its memory, speeds and what a process costs on it."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from scalelab.core.errors import SpecError
from scalelab.core.host_memory import host_bytes
from scalelab.core.presets import find_preset, preset_names
from scalelab.core.spec import RunSpec
from scalelab.core.toml_sections import Section, checked, read_toml
from scalelab.core.units import MIB, format_bytes, parse_bytes
from scalelab.measure.gpus import Gpu, visible_gpus

__all__ = ["DeviceProfile", "calibrated_file", "device_for", "load_device", "this_machine"]


def _size(value: Any) -> int:
    if value in (0, "0", "0B"):
        return 0
    if isinstance(value, str) and value.isdigit():
        value = int(value)  # earlier versions of scalelab wrote bytes without a unit
    try:
        return parse_bytes(value)
    except SpecError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error


_Bytes = Annotated[int, BeforeValidator(_size)]


class _Tflops(Section, frozen=True):
    """`tf32` is absent where the device has no such units: then it is fp32."""

    fp32: PositiveFloat
    tf32: PositiveFloat | None = None
    bf16: PositiveFloat


class _Estimates(Section, frozen=True):
    """`efficiency` is the range of the share of peak speed that a step reaches."""

    context: _Bytes = 0
    launch_us: PositiveFloat = 6.0
    operation_us: PositiveFloat = 20.0
    efficiency: tuple[PositiveFloat, PositiveFloat] = (0.35, 0.9)


class _Cublas(Section, frozen=True):
    workspace: _Bytes | None = None


class _File(Section, frozen=True):
    """`gpu` is a regular expression for the name that the driver gives this GPU."""

    name: str
    kind: Literal["cpu", "cuda"]
    gpu: str | None = None
    capability: Annotated[str, Field(pattern=r"^\d+\.\d+$")] = "0.0"
    multiprocessors: PositiveInt = 132
    memory: _Bytes
    bandwidth_gb_s: PositiveFloat
    tflops: _Tflops
    estimates: _Estimates = _Estimates()
    cublas: _Cublas = _Cublas()


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """One device: bytes it has, bytes and operations a second, and what a process costs on it.

    `flops` has fp32, tf32 and bf16. `efficiency` is (low, high): the share of the peak speeds that
    a whole step was seen to reach. `launch_s` is what each operation takes on the device beside its
    work, `operation_s` what the host of a GPU takes for it, which runs ahead. `cublas_bytes` is the
    workspace of one cuBLAS handle where it was measured, None where the version of torch and the
    capability have to say. The number of `multiprocessors` decides how long sums are split.
    """

    name: str
    kind: Literal["cpu", "cuda"]
    memory_bytes: int
    bytes_per_s: float
    flops: dict[str, float]
    launch_s: float
    operation_s: float
    efficiency: tuple[float, float]
    capability: tuple[int, int] = (0, 0)
    multiprocessors: int = 132
    context_bytes: int = 0
    cublas_bytes: int | None = None


def load_device(name: str | Path | None) -> DeviceProfile:
    """A shipped profile, a file, or (None) this machine. Raises SpecError with the nearest name."""
    if name is None:
        return this_machine()
    return _read(find_preset("devices", name))


def device_for(spec: RunSpec) -> DeviceProfile:
    """The device of this machine that the run names. Raises SpecError for a GPU that is not there.

    A run on the CPU of a machine with a GPU is one of the CPU.
    """
    return this_machine(None if spec.device.name == "auto" else spec.device.name)


def calibrated_file() -> Path | None:
    """Where `scalelab doctor --calibrate` keeps the profile of this machine.

    None where the user has no home folder, as in some containers.
    """
    config = os.environ.get("XDG_CONFIG_HOME")
    if config:
        return Path(config) / "scalelab" / "this-machine.toml"
    home = os.path.expanduser("~")
    return None if home == "~" else Path(home) / ".config" / "scalelab" / "this-machine.toml"


def this_machine(device: str | None = None) -> DeviceProfile:
    """A device of this machine: calibrated figures if there are some, else the nearest profile's.

    `device` is cpu, cuda or cuda:1; None is the first GPU if there is one, else the CPU. Memory is
    read from the machine itself. Raises SpecError where there is no such GPU.
    """
    kind, _, index = (device or "").partition(":")
    gpus = () if kind == "cpu" else visible_gpus()
    if not gpus and kind != "cuda":
        return _this_cpu()
    if int(index or 0) >= len(gpus):
        raise SpecError(
            f"no CUDA GPU found for {device!r}",
            "name a device profile with --on, or see scalelab doctor",
        )
    return _this_gpu(gpus[int(index or 0)])


def _this_cpu() -> DeviceProfile:
    known = _calibrated("cpu")
    near = known or replace(_read(find_preset("devices", "cpu")), name="this machine")
    return replace(near, memory_bytes=host_bytes() or near.memory_bytes)


def _this_gpu(gpu: Gpu) -> DeviceProfile:
    known = _calibrated("cuda")
    if known is not None and known.name == gpu.name:
        return known
    files = (checked(_File, read_toml(path), str(path)) for path in _shipped())
    near, is_it = _nearest(gpu, [file for file in files if file.kind == "cuda"])
    return replace(
        _profile(near),
        name=gpu.name if is_it else f"{gpu.name} (speeds of {near.name})",
        memory_bytes=gpu.memory_bytes,
        capability=gpu.capability,
    )


def _nearest(gpu: Gpu, files: list[_File]) -> tuple[_File, bool]:
    """The profile of this very kind, or of the nearest capability and then memory; and which."""

    def apart(file: _File) -> tuple[int, int, int]:
        major, minor = _capability(file)
        memory = abs(file.memory - gpu.memory_bytes)
        return abs(major - gpu.capability[0]), abs(minor - gpu.capability[1]), memory

    # One name is sold with several sizes of memory, and a slice of a GPU has its name too.
    of_its_name = [
        file
        for file in files
        if file.gpu is not None
        and re.search(file.gpu, gpu.name)
        and _capability(file) == gpu.capability
        and abs(file.memory - gpu.memory_bytes) < 0.1 * file.memory
    ]
    return min(of_its_name or files, key=apart), bool(of_its_name)


def _shipped() -> list[Path]:
    return [find_preset("devices", name) for name in preset_names("devices")]


def _calibrated(kind: str) -> DeviceProfile | None:
    """What `scalelab doctor --calibrate` has found, where it was of this kind of device."""
    file = calibrated_file()
    profile = _read(file) if file is not None and file.is_file() else None
    return profile if profile is not None and profile.kind == kind else None


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
    return _profile(file)


def _profile(file: _File) -> DeviceProfile:
    fp32, bf16 = file.tflops.fp32, file.tflops.bf16
    tf32 = fp32 if file.tflops.tf32 is None else file.tflops.tf32
    return DeviceProfile(
        name=file.name,
        kind=file.kind,
        memory_bytes=file.memory,
        bytes_per_s=file.bandwidth_gb_s * 1e9,
        flops={"fp32": fp32 * 1e12, "tf32": tf32 * 1e12, "bf16": bf16 * 1e12},
        launch_s=file.estimates.launch_us * 1e-6,
        operation_s=file.estimates.operation_us * 1e-6 if file.kind == "cuda" else 0.0,
        efficiency=file.estimates.efficiency,
        capability=_capability(file),
        multiprocessors=file.multiprocessors,
        context_bytes=file.estimates.context,
        cublas_bytes=file.cublas.workspace,
    )


def _capability(file: _File) -> tuple[int, int]:
    major, minor = file.capability.split(".")
    return int(major), int(minor)
