"""Steps on a GPU: the same as on a CPU, the same twice, timed, counted, and without waiting."""

import math
import time

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.events import Observer
from scalelab.core.limits import Limits
from scalelab.core.records import Outcome
from scalelab.core.units import MIB
from scalelab.measure.passes import account_of, batch_tensors
from scalelab.measure.probes.step_timer import StepTimer
from scalelab.measure.session import run
from scalelab.train.assemble import assemble

pytestmark = pytest.mark.gpu

MODELS = plugins.available("models")
SHARED = {
    "loss.name": "sampled_softmax",
    "negatives.per": "batch",
    "negatives.num_negatives": 500,
}


def on_device(spec, device):
    return assemble(spec.with_({"device.name": device}))


def weights(trainer):
    return {name: each.detach() for name, each in trainer.parts.model.named_parameters()}


@pytest.mark.parametrize(
    ("model", "changes"),
    [*((name, {}) for name in MODELS), ("sasrec", SHARED)],
    ids=[*MODELS, "sasrec with shared negatives"],
)
def test_a_step_gives_the_gradients_that_it_gives_on_a_cpu(cuda, small, model, changes):
    # Without momentum and with a rate of 1 the change of a weight is its gradient.
    options = {"train.optimizer": "sgd", "train.learning_rate": 1.0, "model.name": model}
    if "dropout" in plugins.options("models", model):
        options["model.dropout"] = 0.0
    spec = small(options | changes)
    here, there = on_device(spec, "cpu"), on_device(spec, cuda)
    there.parts.model.load_state_dict(here.parts.model.state_dict())
    before = {name: each.clone() for name, each in weights(here).items()}
    losses = []
    for trainer in (here, there):
        batch = trainer.to_device(trainer.loader.batch(0, 0))
        losses.append(float(trainer.step(batch, 1, 0)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    mine, theirs = weights(here), weights(there)
    moved = {name: float((mine[name] - before[name]).norm()) for name in mine}
    whole = math.hypot(*moved.values())
    for name, length in moved.items():
        off = float((theirs[name].cpu() - mine[name]).norm())
        # A bias before a softmax has a gradient of rounding errors alone.
        assert off <= 1e-3 * length + 1e-5 * whole, name


# Histories so long that attention has several blocks of keys, and positions so many that looking
# them up sorts them: both are added up in any order unless it is said otherwise.
LONG = {
    "batch.size": 64,
    "batch.max_len": 200,
    "data.num_users": 100,
    "data.mean_length": 190,
    "data.max_length": 250,
}
LONGER = LONG | {"batch.max_len": 300, "data.mean_length": 310, "data.max_length": 400}


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        *((name, {"train.precision": "bf16"}) for name in MODELS),
        *((name, LONG) for name in MODELS),
        ("sasrec", LONGER | {"train.precision": "bf16"}),
        ("sasrec", LONG | {"model.positions": "relative"}),
        ("sasrec", {}),
    ],
)
def test_the_same_seed_gives_the_same_bits(cuda, small, model, changes):
    spec = small({"model.name": model, "train.max_steps": 4} | changes)
    found = []
    for _ in range(2):
        trainer = on_device(spec, cuda)
        trainer.fit()
        found.append(weights(trainer))
    first, second = found
    assert not [name for name in first if not torch.equal(first[name], second[name])]


class _Forbid(Observer):
    """Waiting is an error from the end of step 3 to that of step 9: batches and all."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        self.steps += 1
        if step == 3:
            torch.cuda.set_sync_debug_mode("error")
        if step == 9:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.precision": "bf16", "train.ema_decay": 0.99},
        {"model.name": "gru4rec", "loss.name": "dense_ce"},
        {"model.name": "hstu", "loss.name": "bce"},
        {"model.name": "bert4rec"} | SHARED,
    ],
    ids=lambda changes: " ".join(map(str, changes.values())) or "cross_entropy",
)
def test_no_step_waits_for_the_gpu(cuda, small, changes):
    trainer = on_device(small(changes | {"train.max_steps": 12}), cuda)
    forbid = _Forbid()
    try:
        with trainer.observed_by([forbid]):
            trainer.fit()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert forbid.steps == 12


class _Slow(Observer):
    """Something on the GPU that takes ten million of its cycles, in every step."""

    def on_phase_start(self, phase: str) -> None:
        if phase == "loss":
            torch.cuda._sleep(10_000_000)


def test_the_step_timer_sees_what_the_gpu_does(cuda, small):
    trainer = on_device(small({"train.max_steps": 12}), cuda)
    timer = StepTimer(warm_up=0)
    timer.open(trainer.parts.device, time.perf_counter)
    torch.cuda.synchronize()
    begun = time.perf_counter()
    with trainer.observed_by([timer, _Slow()]):
        trainer.fit()
    torch.cuda.synchronize()
    wall_s = time.perf_counter() - begun
    timer.close()
    assert len(timer.seconds) == 12
    # No GPU has a clock of 4 GHz; and steps follow one another.
    assert min(timer.seconds) >= 10_000_000 / 4e9
    assert sum(timer.seconds) <= wall_s


def test_running_out_of_memory_is_an_outcome(cuda, small):
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 400 * MIB
    spec = small({"loss.name": "dense_ce", "data.num_items": 300_000, "device.name": cuda})
    record = run(spec, run_id="r", limits=Limits(memory_bytes=room))
    assert record.run.outcome is Outcome.OOM
    assert record.run.phase in ("forward", "loss", "backward")
    assert record.run.error
    # The limit is gone with the run.
    torch.empty(500 * MIB, dtype=torch.uint8, device=cuda)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.precision": "bf16"} | SHARED,
        {"model.name": "gru4rec", "loss.name": "dense_ce"},
        {"model.name": "bert4rec", "loss.name": "rece"},
        {"model.name": "hstu"},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())) or "cross_entropy",
)
def test_the_account_is_what_the_allocator_was_asked_for(cuda, small, changes):
    trainer = on_device(small(changes), cuda)
    batch = trainer.to_device(trainer.loader.batch(0, 0))
    # Two steps: cuBLAS has its workspaces and Adam its state.
    for step in range(2):
        trainer.step(batch, 1, step)
    account = account_of(trainer)
    account.label("batch", batch_tensors(batch))
    torch.cuda.synchronize()
    held = account.peak_bytes
    floor = torch.cuda.memory_stats()["requested_bytes.all.current"] - held
    torch.cuda.reset_peak_memory_stats()
    trainer.step(batch, 1, 2)
    torch.cuda.synchronize()
    peak = torch.cuda.memory_stats()["requested_bytes.all.peak"] - floor
    with trainer.observed_by([account]), account:
        trainer.step(batch, 1, 3)
    assert account.peak_bytes == peak
