"""A run and a device in, its memory by component and its seconds out, before anything runs."""

from dataclasses import asdict, dataclass
from typing import Any

from scalelab.batches.loader import Loader
from scalelab.core.errors import SpecError
from scalelab.core.records import Memory
from scalelab.core.spec import RunSpec
from scalelab.core.units import format_bytes
from scalelab.datasets.load import LengthsOnly, lengths
from scalelab.measure.components import Account
from scalelab.measure.environment import computing_with
from scalelab.measure.passes import EPOCH
from scalelab.planning.allocator import Overflow, replay
from scalelab.planning.cost import Cost
from scalelab.planning.devices import DeviceProfile, load_device
from scalelab.planning.rehearsal import rehearse
from scalelab.planning.roofline import Seconds, run_seconds, step_seconds

__all__ = ["Prediction", "Unpredictable", "limit_bytes", "predict"]

# The forward and the backward pass run in threads of their own, each with a cuBLAS handle.
_CUBLAS_THREADS = 2


class Unpredictable(SpecError):
    """A run that can be measured, but not foreseen."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Bytes of the largest training step, seconds, and whether it fits under `limit_bytes`.

    `memory` has the kinds of the ledger, each by component with a `total`; kinds that the device
    does not have are absent. `overflow` is the first allocation that would not fit.
    """

    device: str
    memory: dict[str, dict[str, int]]
    step_s: Seconds
    run_s: Seconds
    limit_bytes: int
    overflow: Overflow | None

    @property
    def fits(self) -> bool:
        """No allocation of the step goes over the limit."""
        return self.overflow is None

    @property
    def peak_bytes(self) -> int:
        """What the ledger calls the peak: allocated on CUDA, requested on a CPU."""
        kind = "allocated" if "allocated" in self.memory else "requested"
        return self.memory[kind]["total"]

    @property
    def needed_bytes(self) -> int:
        """What is held against the limit: what a process holds on CUDA, requested on a CPU."""
        kind = "device_used" if "device_used" in self.memory else "requested"
        return self.memory[kind]["total"]

    @property
    def reason(self) -> str | None:
        """One line on what would not fit, None where all does."""
        if self.overflow is None:
            return None
        wanted = self.overflow
        return (
            f"would not fit: {format_bytes(self.needed_bytes)} needed, "
            f"{format_bytes(self.limit_bytes)} there; the first allocation too many is "
            f"{format_bytes(wanted.num_bytes)} of {wanted.component} in {wanted.phase}"
        )

    def as_facts(self) -> dict[str, Any]:
        """What `scalelab plan --json` gives, but for the spec."""
        return {
            "device": self.device,
            "memory": self.memory,
            "seconds": {"step": asdict(self.step_s), "run": asdict(self.run_s)},
            "fits": self.fits,
            "limit_bytes": self.limit_bytes,
            "overflow": None if self.overflow is None else asdict(self.overflow),
            "reason": self.reason,
        }

    def rows(self) -> list[Memory]:
        """Rows of the ledger's table `memory`, beside the measured ones."""
        return [
            Memory(
                stage="train",
                kind=kind,
                component=name,
                bytes=count,
                reason=None,
                source="predicted",
            )
            for kind, components in self.memory.items()
            for name, count in components.items()
        ]


def predict(
    spec: RunSpec,
    device: DeviceProfile | None = None,
    *,
    budget_bytes: int | None = None,
    data: LengthsOnly | None = None,
) -> Prediction:
    """Rehearse the epoch's largest step on fake tensors. Reads lengths only, generates no data.

    `device` None is this machine. `budget_bytes` lowers what the device has. `data` spares reading
    the lengths again where many cells share them. Raises Unpredictable, SpecError or DataError.
    """
    if spec.train.compile:
        raise Unpredictable(
            "no prediction of a compiled model: only its compiler decides what it keeps",
            "--set train.compile=false predicts the plain one, which takes more as a rule",
        )
    device = device or load_device(None)
    limit = limit_bytes(device, budget_bytes)
    data = data or lengths(spec.data)
    steps = Loader.from_lengths(
        data.train, batch=spec.batch, seed=spec.train.seed, positions=spec.loss.positions
    )
    shape = steps.shape(EPOCH, steps.largest_step(EPOCH))
    cost = Cost()
    with computing_with(spec.device.threads):
        account = rehearse(spec, data.num_items, shape, like_cuda=device.kind == "cuda", cost=cost)
    memory = {"requested": _by_component(account)}
    if device.kind == "cuda":
        overflow = _replayed(account, device, limit, memory)
    else:
        overflow = _first_above(account, limit)
    step = step_seconds(cost, device, spec.train.precision)
    run = run_seconds(
        spec,
        step,
        num_steps=steps.num_steps,
        num_eval_users=data.num_eval_users,
        num_items=data.num_items,
        device=device,
    )
    return Prediction(
        device=device.name,
        memory=memory,
        step_s=step,
        run_s=run,
        limit_bytes=limit,
        overflow=overflow,
    )


def limit_bytes(device: DeviceProfile, budget_bytes: int | None) -> int:
    """What a run may take: the budget, else all the device has. Raises SpecError for more."""
    if budget_bytes is None:
        return device.memory_bytes
    if budget_bytes > device.memory_bytes:
        raise SpecError(
            f"a budget of {format_bytes(budget_bytes)} on {device.name}, "
            f"which has {format_bytes(device.memory_bytes)}",
            "lower the budget, or name another device with --on",
        )
    return budget_bytes


def _by_component(account: Account) -> dict[str, int]:
    known = {name: count for name, count in account.peak_components().items() if count}
    return {"total": account.peak_bytes, **known}


def _replayed(
    account: Account, device: DeviceProfile, limit: int, memory: dict[str, dict[str, int]]
) -> Overflow | None:
    """Adds allocated, reserved and device_used to `memory`; the allocation too many, if any."""
    held = (device.cublas_bytes,) * _CUBLAS_THREADS if device.cublas_bytes else ()
    story = list(account.story())
    free = replay(story, window=account.window, held_bytes=held)
    memory["allocated"] = {"total": free.allocated}
    memory["reserved"] = {"total": free.reserved}
    memory["device_used"] = {"total": free.reserved + device.context_bytes}
    if free.reserved + device.context_bytes <= limit:
        return None
    # It may still fit once cached segments are given back: the allocator itself decides.
    room = max(0, limit - device.context_bytes)
    return replay(story, window=account.window, held_bytes=held, limit_bytes=room).overflow


def _first_above(account: Account, limit: int) -> Overflow | None:
    live = 0
    for _, num_bytes, phase, component in account.story():
        live += num_bytes
        if live > limit:
            return Overflow(num_bytes=num_bytes, phase=phase, component=component)
    return None
