"""Estimate the seconds of a step and of a run from what they cost and a device's speeds."""

from dataclasses import dataclass

from scalelab.core.spec import RunSpec
from scalelab.planning.cost import Cost, Piece
from scalelab.planning.devices import DeviceProfile

__all__ = ["Seconds", "block_seconds", "run_seconds", "step_seconds"]


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """A range: the truth should lie between `low` and `high`."""

    low: float
    high: float

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(low=self.low + other.low, high=self.high + other.high)

    def __rmul__(self, count: int) -> "Seconds":
        return Seconds(low=count * self.low, high=count * self.high)


def step_seconds(cost: Cost, device: DeviceProfile, precision: str, num_steps: int = 1) -> Seconds:
    """One of the `num_steps` that were counted. Each operation takes its launches and the longer of
    computing and moving. A GPU does that while its host prepares the next ones: the slower counts.

    Products of float32 run in TF32 under that `precision`; those of bfloat16 are known as such.
    """
    return _range(_ideal(cost, device, precision) / num_steps, device)


def block_seconds(cost: Cost, device: DeviceProfile) -> Seconds:
    """A block of evaluation, whose scores are fp32 whatever the training precision."""
    return _range(_ideal(cost, device, "fp32"), device)


def _ideal(cost: Cost, device: DeviceProfile, precision: str) -> float:
    of_device = sum(_on_device(piece, device, precision) for piece in cost.pieces)
    num_kernels = sum(piece.times * piece.kernels for piece in cost.pieces)
    return max(of_device, num_kernels * device.operation_s)


def _on_device(piece: Piece, device: DeviceProfile, precision: str) -> float:
    name = "tf32" if (piece.precision, precision) == ("fp32", "tf32") else piece.precision
    name, _, products = name.partition("x")
    computing = int(products or 1) * piece.flops / device.flops[name]
    moving = piece.num_bytes / device.bytes_per_s
    return piece.times * (piece.kernels * device.launch_s + max(computing, moving))


def _range(ideal: float, device: DeviceProfile) -> Seconds:
    low, high = device.efficiency
    return Seconds(low=ideal / high, high=ideal / low)


def run_seconds(
    spec: RunSpec,
    step: Seconds,
    *,
    num_steps: int,
    block: Seconds,
    num_blocks: int,
    blocks_once: int = 0,
) -> Seconds:
    """All epochs with evaluations: at least until patience runs out, at most `epochs`.

    A validation has `num_blocks`; `blocks_once`, of the test too, are ranked once, at the end.
    """
    train = spec.train
    epochs_high = train.epochs
    if train.max_steps:
        epochs_high = min(epochs_high, -(-train.max_steps // num_steps))
    # The first validation is the best so far; patience counts those after it.
    epochs_low = (
        min(epochs_high, (train.patience + 1) * train.eval_every) if train.patience else epochs_high
    )

    def total(epochs: int, of_step: float, of_block: float) -> float:
        steps = min(epochs * num_steps, train.max_steps or epochs * num_steps)
        validations = -(-epochs // train.eval_every)
        return steps * of_step + (validations * num_blocks + blocks_once) * of_block

    return Seconds(
        low=total(epochs_low, step.low, block.low), high=total(epochs_high, step.high, block.high)
    )
