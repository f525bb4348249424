"""Query the driver (NVML) for a GPU's memory, use, power, energy, clocks and throttling."""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import pynvml
import torch
from pydantic import Field

from scalelab.core.events import GpuMeter
from scalelab.core.records import Memory
from scalelab.measure.gpus import Gpu
from scalelab.measure.probes import Probe, missing

__all__ = ["Nvml"]

# nvml.h: reasons for which clocks are held down, apart from idling and settings of the user.
_THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
# An older driver has no second version of the question.
_NO_VERSION_2 = (
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
)
_VERSION_1 = "with what the driver keeps for itself, which this driver does not separate"


class Nvml(Probe):
    """Reads at most every `every_s` seconds, at the end of steps, and at every epoch's end.

    The GPU is found by its UUID, not by number (which CUDA_VISIBLE_DEVICES changes) and not by
    process id (which a container hides): `device_used` therefore counts other processes of the same
    GPU too, but not what the driver keeps for itself. Where there is no GPU or no NVML, one row
    with the reason is left.
    """

    name = "nvml"
    device_types: ClassVar[tuple[str, ...]] = ("cuda",)

    def __init__(
        self,
        *,
        every_s: Annotated[
            float, Field(ge=0, description="least seconds between two readings")
        ] = 0.5,
    ) -> None:
        super().__init__()
        self.every_s = every_s
        self.reason: str | None = "the run did not start"
        self.peak_bytes: int | None = None
        self._handle: Any = None
        self._knows_version_2 = True
        self._last = float("-inf")
        self._energy: int | None = None
        self._energy_at_start: int | None = None

    def open(self, device: torch.device, now: Callable[[], float]) -> None:
        """Find the GPU; the first reading."""
        super().open(device, now)
        if device.type != "cuda":
            self.reason = "the run uses no GPU"
            return
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(self.uuid_of(device))
            self.reason = None
        except pynvml.NVMLError as error:
            self.reason = f"NVML does not answer: {error}"
            return
        self._energy = self._energy_at_start = self._query(
            lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        )
        self._read()

    @staticmethod
    def gpus() -> tuple[Gpu, ...] | None:
        """All GPUs that the driver knows, by bus; None where NVML does not answer."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        try:
            count = pynvml.nvmlDeviceGetCount()
            return tuple(_gpu(pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(count))
        except pynvml.NVMLError:
            return None
        finally:
            pynvml.nvmlShutdown()

    @staticmethod
    def meters() -> tuple[GpuMeter, ...]:
        """What each GPU does now, by bus; none where NVML does not answer."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return ()
        try:
            count = pynvml.nvmlDeviceGetCount()
            return tuple(_meter(pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(count))
        except pynvml.NVMLError:
            return ()
        finally:
            pynvml.nvmlShutdown()

    @staticmethod
    def smallest_gpu_bytes() -> int | None:
        """Memory of this machine's smallest GPU; None where NVML does not answer or knows none."""
        return min((gpu.memory_bytes for gpu in Nvml.gpus() or ()), default=None)

    @staticmethod
    def cuda_version() -> int | None:
        """The newest major version of CUDA that the driver runs; None where it does not say."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        try:
            return pynvml.nvmlSystemGetCudaDriverVersion_v2() // 1000
        except pynvml.NVMLError:
            return None
        finally:
            pynvml.nvmlShutdown()

    @staticmethod
    def used_bytes(uuid: str) -> int:
        """What all processes take of a GPU, by the driver. Raises NVMLError."""
        pynvml.nvmlInit()
        try:
            return int(_memory(pynvml.nvmlDeviceGetHandleByUUID(uuid))[0].used)
        finally:
            pynvml.nvmlShutdown()

    @staticmethod
    def uuid_of(device: torch.device) -> str:
        """The name of the GPU that never changes."""
        return f"GPU-{torch.cuda.get_device_properties(device).uuid}"

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """Now and then a reading."""
        if self._handle is not None and time.monotonic() - self._last >= self.every_s:
            self._read()

    def on_epoch_end(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """A reading, and the energy of the epoch."""
        if self._handle is not None:
            self._read()
            self._energy = self._spent("energy_epoch", self._energy)

    def close(self) -> None:
        """The last reading, and the energy of the run."""
        if self._handle is None:
            return
        self._read()
        self._spent("energy_run", self._energy_at_start)
        self._handle = None
        pynvml.nvmlShutdown()

    def memory(self) -> list[Memory]:
        """`device_used` of the process: the most that was seen, between readings unseen."""
        if self.peak_bytes is None:
            return [missing("process", "device_used", self.reason or "nothing was read")]
        return [
            Memory(
                stage="process",
                kind="device_used",
                component="total",
                bytes=self.peak_bytes,
                reason=None if self._knows_version_2 else _VERSION_1,
                source="measured",
            )
        ]

    def _read(self) -> None:
        self._last = time.monotonic()
        handle = self._handle
        memory = self._query(lambda: _memory(handle))
        used = None
        if memory is not None:
            used, self._knows_version_2 = memory[0].used, memory[1]
            self.peak_bytes = max(self.peak_bytes or 0, int(used))
        busy = self._query(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        milliwatt = self._query(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
        clock = self._query(lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))
        why = self._query(lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        self.sample("device_used", _number(used), "byte")
        self.sample("utilisation", _number(busy), "percent")
        self.sample("power", None if milliwatt is None else milliwatt / 1000, "watt")
        self.sample("sm_clock", _number(clock), "megahertz")
        self.sample("throttled", None if why is None else float(bool(why & _THROTTLED)), "flag")

    def _spent(self, name: str, since: int | None) -> int | None:
        now = self._query(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        spent = None if now is None or since is None else (now - since) / 1000
        self.sample(name, spent, "joule")
        return now

    @staticmethod
    def _query(read: Callable[[], Any]) -> Any:
        """The answer, None where this GPU does not know (older ones count no energy, say)."""
        try:
            return read()
        except pynvml.NVMLError:
            return None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _memory(handle: Any) -> tuple[Any, bool]:
    """`total`, `used` and so on, and whether `used` is without what the driver keeps for itself."""
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2), True
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) not in _NO_VERSION_2:
            raise
        return pynvml.nvmlDeviceGetMemoryInfo(handle), False


def _meter(handle: Any) -> GpuMeter:
    memory, _ = _memory(handle)
    busy = Nvml._query(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    milliwatt = Nvml._query(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    return GpuMeter(
        name=pynvml.nvmlDeviceGetName(handle),
        used_bytes=int(memory.used),
        memory_bytes=int(memory.total),
        busy_percent=_number(busy),
        watts=None if milliwatt is None else milliwatt / 1000,
    )


def _gpu(handle: Any) -> Gpu:
    memory, knows_reserved = _memory(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=pynvml.nvmlDeviceGetName(handle),
        memory_bytes=int(memory.total) - (int(memory.reserved) if knows_reserved else 0),
        capability=(int(major), int(minor)),
        is_sliced=_is_sliced(handle),
    )


def _is_sliced(handle: Any) -> bool:
    try:
        return pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    except pynvml.NVMLError:
        return False  # most GPUs cannot be cut into slices, and say so by an error
