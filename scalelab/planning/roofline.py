"""What a step costs and a device's speeds in, seconds as a range out."""

from dataclasses import dataclass

from scalelab.core.spec import RunSpec
from scalelab.planning.cost import Cost
from scalelab.planning.devices import DeviceProfile

__all__ = ["Seconds", "run_seconds", "step_seconds"]

# Scoring a block of users: the product is written, compared twice, and its best k are found.
_PASSES_OVER_SCORES = 6


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """A range: the truth should lie between `low` and `high`."""

    low: float
    high: float


def step_seconds(cost: Cost, device: DeviceProfile, precision: str) -> Seconds:
    """Each operation takes its launch and the longer of computing and moving."""
    flops_per_s = device.flops[precision]
    ideal = sum(
        times * (device.launch_s + max(flops / flops_per_s, moved / device.bytes_per_s))
        for flops, moved, times in cost.pieces
    )
    low, high = device.efficiency
    return Seconds(low=ideal / high, high=ideal / low)


def run_seconds(
    spec: RunSpec,
    step: Seconds,
    *,
    num_steps: int,
    num_eval_users: int,
    num_items: int,
    device: DeviceProfile,
) -> Seconds:
    """All epochs with evaluations: at least until patience runs out, at most as many as asked."""
    train = spec.train
    hidden_dim = int(spec.model.options.get("hidden_dim", 64))
    scores = num_eval_users * (num_items + 1)
    product = 2 * scores * hidden_dim / device.flops["fp32"]
    moved = 4 * scores * _PASSES_OVER_SCORES / device.bytes_per_s
    low, high = device.efficiency
    epochs_high = train.epochs
    if train.max_steps:
        epochs_high = min(epochs_high, -(-train.max_steps // num_steps))
    epochs_low = (
        min(epochs_high, train.patience * train.eval_every + 1) if train.patience else epochs_high
    )

    def total(epochs: int, seconds: float, share: float) -> float:
        steps = min(epochs * num_steps, train.max_steps or epochs * num_steps)
        evaluations = -(-epochs // train.eval_every) + 1  # and the test
        return steps * seconds + evaluations * (product + moved) / share

    return Seconds(low=total(epochs_low, step.low, high), high=total(epochs_high, step.high, low))
