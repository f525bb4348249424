"""Predict the memory of a run by component and its seconds, before anything runs."""

from scalelab.batches.drawing import check_clock, check_negatives
from scalelab.batches.pretraining import NEGATIVES
from scalelab.batches.steps import Steps
from scalelab.core.errors import PredictionUnsupported
from scalelab.core.spec import RunSpec
from scalelab.datasets.load import LengthsOnly, lengths
from scalelab.measure.environment import computing_with
from scalelab.planning.buildable import others_faults
from scalelab.planning.cost import Cost
from scalelab.planning.devices import DeviceProfile, load_device
from scalelab.planning.fake_steps import FakeSteps, held_by, larger_of
from scalelab.planning.host import process_bytes, rolled_out_bytes
from scalelab.planning.left_items import check_left_items
from scalelab.planning.limits import limit_bytes, sizes_that_exist, target_for
from scalelab.planning.memory_kinds import MemoryKinds, memory_kinds
from scalelab.planning.prediction import Prediction
from scalelab.planning.roofline import Seconds, block_seconds, run_seconds, step_seconds
from scalelab.ranking.earlier import earlier_lengths
from scalelab.train.assemble import evaluator_of, mask_last_prob, mask_prob
from scalelab.train.precision import check_precision, products_in
from scalelab.train.pretraining import (
    pretrain_epochs,
    pretraining_length,
    pretraining_steps_of,
)

__all__ = ["PredictionUnsupported", "predict"]


def predict(
    spec: RunSpec,
    device: DeviceProfile | None = None,
    *,
    budget_bytes: int | None = None,
    headroom: float = 0.0,
    data: LengthsOnly | None = None,
) -> Prediction:
    """Run the largest step of all epochs and the largest block of evaluation on fake tensors.

    Reads lengths only; generated items are drawn only where a user may have had all of them.
    `device` None is this machine. `budget_bytes` lowers what the device has; `headroom` is the
    share of the limit that is to stay free. `data` are the lengths where the caller has read them
    already.
    Raises PredictionUnsupported, MissingExtra, SpecError or DataError.
    """
    if spec.train.compile:
        raise PredictionUnsupported(
            "no prediction of a compiled model: only its compiler decides what it keeps",
            "--set train.compile=false predicts the plain one, which takes more as a rule",
        )
    device = device or load_device(None)
    check_precision(spec.train.precision, device.kind)
    limit_bytes(device, budget_bytes)
    data = data or lengths(spec.data)
    check_clock(spec.negatives, data.has_clock)
    steps = Steps(
        data.train,
        batch=spec.batch,
        seed=spec.train.seed,
        train_on=spec.loss.train_on,
        mask_prob=mask_prob(spec),
        mask_last_prob=mask_last_prob(spec),
    )
    check_negatives(spec.negatives, min(steps.size, steps.num_sequences))
    steps_before = pretraining_steps_of(spec, data.train)
    check_left_items(spec, data, () if steps_before is None else NEGATIVES)
    further = steps.prefix_bytes + rolled_out_bytes(spec, data)
    if steps_before is not None:
        further += steps_before.prefix_bytes
    process = process_bytes(data, further) if device.kind == "cpu" else None
    limit = int(limit_bytes(device, budget_bytes, process) * (1 - headroom))
    target = target_for(device)
    evaluator = evaluator_of(spec, data.num_items)
    with (
        others_faults(spec),
        sizes_that_exist(),
        computing_with(spec.device.threads),
        products_in(spec.train.precision),
    ):
        fake_steps = FakeSteps(spec, data, device, target=target, steps_an_epoch=steps.num_steps)
        before, before_cost = fake_steps.pretraining(steps_before)
        largest, cost = fake_steps.training(steps)
        memory, without_limit, overflow = held_by(before, largest, device, limit)
        evaluation: MemoryKinds = {}
        block_cost, largest_block = Cost(), None
        block_users = evaluator.block_users(largest.run.hidden_dim, target)
        evaluated = data.evaluated(spec.data.max_eval_users)
        once = earlier_lengths(evaluated["test"], spec.evaluate.positions, spec.data.test_items)
        once |= data.ahead(spec.data.max_eval_users, spec.evaluate.steps_ahead)
        evaluated |= once
        blocks = []
        for choice in evaluator.largest_blocks(
            evaluated,
            block_users=block_users,
        ):
            of_this = Cost()
            account = largest.run.evaluate(evaluator, choice.shape, of_this)
            blocks.append((account, of_this, choice))
        if blocks:
            account, block_cost, largest_block = max(blocks, key=lambda each: each[0].peak_bytes)
            # What was larger has left the larger segments in the allocator.
            larger = larger_of(before, largest)
            evaluation, held, too_much = memory_kinds(
                account,
                device,
                limit,
                kept=larger.workspaces,
                after=larger.account,
                among=[each for each, _, _ in blocks],
            )
            without_limit, overflow = max(without_limit, held), overflow or too_much
    of_update = min(spec.train.accumulate, steps.num_steps)
    step = step_seconds(cost, device, spec.train.precision, of_update)
    blocks_of = {split: -(-len(some) // block_users) for split, some in evaluated.items()}
    num_blocks = blocks_of["test"]
    block = block_seconds(block_cost, device)
    run = run_seconds(
        spec,
        step,
        num_steps=steps.num_steps,
        block=block,
        num_blocks=blocks_of["valid"],
        blocks_once=sum(blocks_of.values()) - blocks_of["valid"],
    )
    pretraining = None
    if steps_before is not None:
        epochs, number = pretrain_epochs(spec), steps_before.num_steps
        length = pretraining_length(epochs, number, spec.train.max_steps)
        pretraining = length * step_seconds(before_cost, device, spec.train.precision)
        run += pretraining
    return Prediction(
        device=device.name,
        device_kind=device.kind,
        memory=memory,
        evaluation=evaluation,
        step_s=step,
        run_s=run,
        pretraining_s=pretraining,
        evaluation_s=Seconds(low=num_blocks * block.low, high=num_blocks * block.high),
        num_items=data.num_items,
        num_users=data.num_users,
        steps_per_epoch=steps.num_steps,
        without_limit_bytes=without_limit,
        limit_bytes=limit,
        overflow=overflow,
        largest_step=larger_of(before, largest).choice,
        largest_block=largest_block,
        process=process,
    )
