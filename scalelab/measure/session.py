"""Run one spec and record its quality, time and memory, whatever the outcome."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from scalelab.core.errors import ScalelabError
from scalelab.core.events import Progress, Stage
from scalelab.core.initial_row import new_row
from scalelab.core.limits import Limits
from scalelab.core.records import (
    Outcome,
    Record,
    Stopped,
    UserRanks,
)
from scalelab.core.spec import RunSpec
from scalelab.datasets.compact import write_item_ids, write_user_ids
from scalelab.losses.kernels.choice import kernels_used
from scalelab.measure import listeners, passes
from scalelab.measure.account_check import account_error
from scalelab.measure.components import Account
from scalelab.measure.device_budget import must_fit, on_device
from scalelab.measure.environment import computing_with, environment
from scalelab.measure.gpus import on_this_machine
from scalelab.measure.listeners import Stop, TimeLimitReached
from scalelab.measure.memory_errors import out_of_memory
from scalelab.measure.probes import chosen_probes
from scalelab.measure.probes.torch_history import TorchHistory
from scalelab.measure.rows import baselines_of, largest_rows, resolved_of
from scalelab.measure.run_state import RunState
from scalelab.measure.user_ids import training_user_ids
from scalelab.models.users import user_table_of
from scalelab.train import checkpoint
from scalelab.train.assemble import Data, assemble, load_data
from scalelab.train.precision import check_precision, products_in
from scalelab.train.roll_out import roll_out
from scalelab.train.shared_pretraining import shared_folder
from scalelab.train.trainer import Diverged, Fit, Trainer

__all__ = ["out_of_memory", "run"]

_LOG = logging.getLogger(__name__)
# With `train.max_steps` all the training that was wanted is over as well. A request is none of
# these: it ends the run, which is interrupted or pruned.
_STOPPED = {"epochs": Stopped.EPOCHS, "steps": Stopped.EPOCHS, "patience": Stopped.PATIENCE}


def run(
    spec: RunSpec,
    *,
    run_id: str,
    study_id: str | None = None,
    attempt: int = 1,
    limits: Limits | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: Stop = lambda: False,
    timeline: bool = False,
    steps: int | None = None,
    save_model: Path | None = None,
    out: Path | None = None,
    keep: Path | None = None,
    baselines: bool = False,
    strict: bool = False,
) -> Record:
    """Run one spec in this process: memory passes, undisturbed training, test of the best weights.

    Running out of memory or time, a loss that is not a number, a stop and a failure are outcomes of
    the record, with the phase they came in and what was known by then. `stop()` is called after
    every epoch: True interrupts, an Outcome ends the run with it. `steps` ends training after so
    many. `timeline` keeps every change of memory inside the profiled step. `save_model` and `out`
    are folders for weights and spec, and for trace files. With a folder `keep`, an interrupted run
    leaves a checkpoint there and a later one goes on from it. With `baselines` the record has those
    of its data set and protocol. Only with `strict` does bad input raise (SpecError, DataError);
    otherwise nothing but KeyboardInterrupt leaves this function.
    """
    spec = on_this_machine(spec)
    if steps is not None:
        spec = spec.with_({"train.max_steps": steps})
    state = RunState(
        row=new_row(spec, run_id=run_id, study_id=study_id, attempt=attempt),
        begun=time.perf_counter(),
    )
    limits = limits or Limits()
    with computing_with(spec.device.threads):
        facts = environment(torch.device("cpu"))
        try:
            facts = environment(torch.device(spec.device.name))
            check_precision(spec.train.precision, torch.device(spec.device.name).type)
            with (
                products_in(spec.train.precision),
                on_device(torch.device(spec.device.name), limits.memory_bytes),
            ):
                trainer = _prepare(spec, state)
                if baselines:
                    state.baselines = baselines_of(trainer, state.row)
                _measure(trainer, state, limits, timeline=timeline, out=out)
                ended = _train(trainer, state, limits, report=report, stop=stop, keep=keep)
            if ended is Outcome.DONE and save_model is not None:
                _save(trainer, save_model)
        except Exception as error:
            if strict and isinstance(error, ScalelabError):
                raise
            ended = _ended_by(error, state, spec.device.name)
    row = replace(
        state.row,
        outcome=ended,
        phase=None if ended is Outcome.DONE else state.phase,
        wall_s=state.now(),
    )
    return Record(
        run=row,
        metrics=tuple(state.metrics),
        memory=tuple(state.memory),
        timeline=state.timeline,
        samples=(*state.samples, *(s for probe in state.probes for s in probe.samples)),
        environment=facts,
        user_ranks=state.ranks,
        baselines=state.baselines,
    )


def _prepare(spec: RunSpec, state: RunState) -> Trainer:
    data: Data = load_data(spec)
    interactions = data.interactions
    state.row = replace(
        state.row,
        fingerprint=spec.fingerprint(interactions.fingerprint),
        data_fingerprint=interactions.fingerprint,
        num_users=interactions.num_users,
        num_items=interactions.num_items,
        num_interactions=interactions.num_interactions,
        tied_targets=data.tied_targets,
        repeated_targets=data.repeated_targets,
    )
    return assemble(spec, data)


def _measure(
    trainer: Trainer, state: RunState, limits: Limits, *, timeline: bool, out: Path | None
) -> None:
    """The memory passes; afterwards the trainer is as if it had never moved."""

    def watch(account: Account) -> None:
        state.account = account

    kernels_used.clear()
    history = TorchHistory(folder=str(out or "."))
    device = trainer.parts.device.type
    with ExitStack() as stack:
        stack.enter_context(trainer.observed_by([listeners.PhaseWatch(state)]))
        if out is not None:
            # Also where the pass runs out of memory: then the snapshot shows what took it.
            history.open(trainer.parts.device, state.now)
            stack.callback(history.close)
        state.memory += passes.allocator_pass(trainer)
        must_fit(state.memory, limits.memory_bytes, device)
        account, step = passes.training_pass(trainer, watch)
        state.memory += passes.memory_rows(Stage.TRAIN, account)
        if timeline:
            state.timeline = account.timeline()
        must_fit(state.memory, limits.memory_bytes, device)
        of_block, block = passes.evaluation_pass(trainer)
        state.memory += passes.memory_rows(Stage.EVAL, of_block)
        state.samples += largest_rows(step, block)
        # After evaluation, which needs the optimizers as the training leaves them.
        error = account_error(trainer, account, step, state.memory)
        state.row = replace(state.row, account_error=error)
        must_fit(state.memory, limits.memory_bytes, device)
        if out is not None:
            listeners.write_trace(trainer, out, step)
    state.row = replace(state.row, resolved=resolved_of(trainer, step))
    trainer.reset()


def _train(
    trainer: Trainer,
    state: RunState,
    limits: Limits,
    *,
    report: Callable[[Progress], None],
    stop: Stop,
    keep: Path | None,
) -> Outcome:
    """The undisturbed pass, then the test of the best weights."""
    state.probes += chosen_probes(trainer.spec, trainer.parts.device)
    counter = listeners.PositionCounter()
    watch = listeners.PhaseWatch(state)
    fit = Fit()
    clock = listeners.Clock(fit)
    reporter = listeners.Reporter(trainer, state, report)
    stop_request = listeners.StopRequest(stop)
    guard = listeners.TimeGuard(limits.time_s, state.now)
    for probe in state.probes:
        probe.open(trainer.parts.device, state.now)
    waited = trainer.loader.wait_s
    shared = shared_folder(trainer.spec, trainer.data.interactions.fingerprint, keep)
    try:
        with trainer.observed_by([watch, clock, counter, *state.probes, reporter, guard]):
            begun = time.perf_counter()
            try:
                every_minute = listeners.every(60.0)
                trainer.fit(stop_request, keep=keep, keep_when=every_minute, fit=fit, shared=shared)
            finally:
                here_s = time.perf_counter() - begun - clock.evaluate_s
                here = _Here(counter.positions, here_s, trainer.loader.wait_s - waited)
                _note_training(state, fit, here)
                state.row = replace(state.row, train_s=clock.before("train") + here_s)
            if fit.stopped == "request":
                return stop_request.outcome
            metrics, ranks = trainer.ranked("test")
            several = ranks.num_targets
            state.ranks = UserRanks(
                ranks=tuple(ranks.ranks.tolist()),
                num_targets=None if several is None else tuple(several.tolist()),
                one_list=ranks.one_list,
            )
            epoch = fit.best_epoch or fit.epoch
            state.metrics += listeners.metric_rows("test", epoch, metrics)
            for split in trainer.earlier:
                state.metrics += listeners.metric_rows(split, epoch, trainer.evaluate(split))
            for split, found in roll_out(trainer):
                state.metrics += listeners.metric_rows(split, epoch, found)
            state.metrics += listeners.oracle_rows(trainer, epoch)
    finally:
        state.row = replace(state.row, eval_s=clock.before("evaluate") + clock.evaluate_s)
        for probe in state.probes:
            probe.close()
        for probe in state.probes:
            state.memory += probe.memory()
    return Outcome.DONE


class _Here(NamedTuple):
    """What this process did of the training, which another may have begun."""

    positions: int
    seconds: float
    wait_s: float


def _note_training(state: RunState, fit: Fit, here: _Here) -> None:
    """What training has found, and its rates in this process."""
    for epoch, objectives in fit.pretraining:
        state.metrics += listeners.metric_rows("pretrain", epoch, objectives)
    for epoch, metrics in fit.history:
        state.metrics += listeners.metric_rows("valid", epoch, metrics)
    for epoch, loss, wall_s in fit.epoch_ends:
        state.metrics += listeners.metric_rows("train", epoch, {"loss": loss, "wall_s": wall_s})
    state.row = replace(
        state.row,
        best_epoch=fit.best_epoch,
        epochs=fit.epoch,
        stopped=_STOPPED.get(fit.stopped or ""),
        tokens_per_s=here.positions / here.seconds if here.positions else None,
        wait_fraction=here.wait_s / here.seconds if here.positions else None,
    )


def _ended_by(error: Exception, state: RunState, device: str) -> Outcome:
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ScalelabError) and error.hint:
        line = f"{line}; {error.hint}"
    state.row = replace(state.row, error=line)
    if isinstance(error, Diverged):
        state.row = replace(state.row, stopped=Stopped.DIVERGED)
        return Outcome.DIVERGED
    if isinstance(error, TimeLimitReached):
        state.row = replace(state.row, stopped=Stopped.TIME)
        return Outcome.TIMEOUT
    if out_of_memory(error):
        state.memory += passes.last_known(device, state.account, state.memory)
        return Outcome.OOM
    state.row = replace(state.row, error=f"{type(error).__name__}: {line}")
    _LOG.error("run %s failed", state.row.run_id, exc_info=error)
    return Outcome.FAILED


def _save(trainer: Trainer, folder: Path) -> None:
    train = trainer.data.split.train
    has_ids = trainer.data.interactions.find_original_ids is not None
    numbers = {"num_items": str(trainer.parts.num_items), "own_ids": "yes" if has_ids else "no"}
    if user_table_of(trainer.parts.model) is not None:
        numbers["num_users"] = str(len(train))
    checkpoint.save_weights(trainer.parts.model, folder / "weights.safetensors", numbers)
    (folder / "spec.json").write_text(trainer.spec.as_json() + "\n", encoding="utf-8")
    write_item_ids(trainer.data.interactions, folder)
    if "num_users" in numbers:
        users = training_user_ids(trainer.spec.data, trainer.data.interactions, train)
        if users is not None:
            write_user_ids(users, folder)
