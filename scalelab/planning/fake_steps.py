"""Run the largest steps of a run on fake tensors: those of its pre-training and of its training."""

from typing import NamedTuple

from scalelab.batches.steps import StepChoice, Steps
from scalelab.core.spec import RunSpec
from scalelab.datasets.load import LengthsOnly
from scalelab.losses import Target
from scalelab.measure.components import Account
from scalelab.measure.largest import pretraining_choices
from scalelab.planning.cost import Cost
from scalelab.planning.cublas import Workspaces, workspaces_for
from scalelab.planning.devices import DeviceProfile
from scalelab.planning.fake_tensor_run import FakeTensorRun
from scalelab.planning.memory_kinds import Held, memory_kinds
from scalelab.train.pretraining import pretrain_epochs

__all__ = ["FakeStep", "FakeSteps", "held_by", "larger_of"]


# Kinds of memory that do not fall before the run ends.
_RESERVED = frozenset({"reserved", "device_used"})


class FakeStep(NamedTuple):
    """A step on fake tensors, and the workspaces that it took, by event and bytes."""

    run: FakeTensorRun
    account: Account
    workspaces: list[tuple[int, int]]
    choice: StepChoice


class FakeSteps:
    """Finds the largest steps of a run. `cost` of each kind is that of the first epoch's largest
    step: few steps of a run are larger.
    """

    def __init__(
        self,
        spec: RunSpec,
        data: LengthsOnly,
        device: DeviceProfile,
        *,
        target: Target | None,
        steps_an_epoch: int,
    ) -> None:
        self._spec, self._data, self._device, self._target = spec, data, device, target
        self._steps_an_epoch = steps_an_epoch

    def training(self, steps: Steps) -> tuple[FakeStep, Cost]:
        """The training step that takes most memory, and what the usual one costs."""
        choices = self._run().largest_steps(steps)
        return self._largest(_usual(steps), choices)

    def pretraining(self, steps: Steps | None) -> tuple[FakeStep | None, Cost]:
        """The same of a pre-training; None for a run without one."""
        if steps is None:
            return None, Cost()
        epochs = pretrain_epochs(self._spec)
        choices = pretraining_choices(steps, epochs, self._spec.train.max_steps)
        return self._largest(_usual(steps)._replace(is_pretraining=True), choices)

    def _largest(self, usual: StepChoice, choices: tuple[StepChoice, ...]) -> tuple[FakeStep, Cost]:
        cost, counted = Cost(), False
        found: list[FakeStep] = []
        for choice in choices:
            is_usual = not counted and choice.shape == usual.shape
            found.append(self._ran(choice, cost if is_usual else None))
            counted = counted or is_usual
        if not counted:
            self._ran(usual, cost)
        return max(found, key=_peak), cost

    def _ran(self, choice: StepChoice, cost: Cost | None) -> FakeStep:
        # Each its own run: workspaces are allocated once a run, and so are weights.
        cublas = workspaces_for(self._device)
        run = self._run(cublas)
        if choice.is_pretraining:
            account = run.pretrain(choice.shape, cost)
        else:
            account = run.train(choice.shape, self._steps_an_epoch, cost)
        return FakeStep(run, account, list(cublas.noted), choice)

    def _run(self, workspaces: Workspaces | None = None) -> FakeTensorRun:
        return FakeTensorRun(
            self._spec,
            self._data.num_items,
            num_users=len(self._data.train),
            target=self._target,
            workspaces=workspaces,
        )


def larger_of(pretraining: FakeStep | None, training: FakeStep) -> FakeStep:
    """The step with the higher peak; of equal ones that of the pre-training, which comes first."""
    return training if pretraining is None else max((pretraining, training), key=_peak)


def held_by(
    pretraining: FakeStep | None, training: FakeStep, device: DeviceProfile, limit: int
) -> Held:
    """What the larger of both holds. What one has reserved stays reserved, so the second counts
    the segments of the first.
    """
    if pretraining is None:
        return memory_kinds(training.account, device, limit, kept=training.workspaces)
    first = memory_kinds(pretraining.account, device, limit, kept=pretraining.workspaces)
    second = memory_kinds(
        training.account,
        device,
        limit,
        kept=pretraining.workspaces,
        after=pretraining.account,
    )
    larger = first if larger_of(pretraining, training) is pretraining else second
    kept = {
        kind: second.kinds[kind] for kind in ("reserved", "device_used") if kind in second.kinds
    }
    return Held(
        larger.kinds | kept,
        max(first.without_limit, second.without_limit),
        first.overflow or second.overflow,
    )


def _usual(steps: Steps) -> StepChoice:
    number = steps.largest_step(0)
    return StepChoice(0, number, steps.shape(0, number))


def _peak(step: FakeStep) -> int:
    return step.account.peak_bytes
