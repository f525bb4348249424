"""Train a model: epochs, early stopping, evaluation, with every phase announced."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from scalelab.batches.batch import Batch
from scalelab.batches.loader import Loader
from scalelab.batches.pretraining import PretrainingBatch
from scalelab.core.events import Observer, Phase
from scalelab.core.leftovers import temporary_folder
from scalelab.core.spec import RunSpec
from scalelab.core.verdicts import left_plateau
from scalelab.datasets.splits import HeldOut
from scalelab.ranking.metrics import TargetRanks
from scalelab.train import checkpoint
from scalelab.train.averaging import averaged
from scalelab.train.data import Data
from scalelab.train.divergence import LOOK_EVERY, Diverged, must_be_finite
from scalelab.train.evaluate import Evaluator
from scalelab.train.fit import Fit
from scalelab.train.item_popularity import item_popularity
from scalelab.train.optimizers.schedules import set_rates
from scalelab.train.precision import products_in
from scalelab.train.pretraining import Pretraining, pretrain_epoch, pretraining_step
from scalelab.train.shared_pretraining import save_shared, take_shared
from scalelab.train.step import Parts, training_step

__all__ = ["Diverged", "Fit", "Trainer"]


@dataclass(kw_only=True)
class Trainer:
    """A run that can take single steps, fit, and evaluate. Owns no clock and prints nothing.

    `popularity` is what ranking items by how often they occur in training has on validation, in the
    metric that chooses the epoch. `earlier` are training targets that are ranked for too, `ahead`
    hidden items that are ranked for step by step.
    """

    spec: RunSpec
    parts: Parts
    loader: Loader
    data: Data
    evaluator: Evaluator
    popularity: float
    pretraining: Pretraining | None = None
    earlier: dict[str, HeldOut] = field(default_factory=dict)
    ahead: dict[str, HeldOut] = field(default_factory=dict)
    observers: list[Observer] = field(default_factory=list)

    def reset(self) -> None:
        """Weights, optimizer and generators as they were at first, in place."""
        self.forget_updates()
        generator = torch.Generator(self.parts.device).manual_seed(self.spec.train.seed)
        self.parts.model.reset_parameters(generator)  # pyright: ignore[reportCallIssue]

    def forget_updates(self) -> None:
        """Optimizers as they were at first: the next update is their first."""
        self.parts.optimizer.zero_grad(set_to_none=True)
        self.parts.optimizer.state.clear()
        if self.parts.table is not None:
            self.parts.table.forget()

    @contextmanager
    def randomness(self, epoch: int) -> Iterator[None]:
        """Dropout and the loss draw from (seed, epoch); the process's generators are put back.

        Epochs of pre-training count down from -1.
        """
        key = (self.spec.train.seed * 1_000_003 + epoch) % 2**63
        device = self.parts.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(key)
            if self.parts.generator is not None:
                self.parts.generator.manual_seed(key)
            yield

    @contextmanager
    def announce(self, phase: Phase) -> Iterator[None]:
        """Notify the observers that a phase begins and ends."""
        for observer in self.observers:
            observer.on_phase_start(phase)
        try:
            yield
        finally:
            for observer in self.observers:
                observer.on_phase_end(phase)

    @contextmanager
    def observed_by(self, observers: Sequence[Observer]) -> Iterator[None]:
        """`observers` listen for a while."""
        before = list(self.observers)
        self.observers.extend(observers)
        try:
            yield
        finally:
            self.observers[:] = before

    def to_device(self, batch: Batch) -> Batch:
        """The batch where the model is."""
        return batch if self.parts.device.type == "cpu" else batch.to(self.parts.device)

    def step(
        self,
        batch: Batch,
        epoch: int,
        step: int,
        *,
        update: bool = True,
        share: float | None = None,
    ) -> Tensor:
        """One announced step on a batch that is on the device; the detached loss.

        `update` and `share` are those of `training_step`.
        """
        with self._announced_step(batch, epoch, step):
            return training_step(self.parts, batch, self.announce, update=update, share=share)

    def pretraining_step(self, batch: PretrainingBatch, epoch: int, step: int) -> dict[str, Tensor]:
        """One announced step of pre-training; the detached objectives."""
        with self._announced_step(batch, epoch, step):
            return pretraining_step(self.parts, batch, self.announce)

    @contextmanager
    def _announced_step(self, batch: Batch, epoch: int, step: int) -> Iterator[None]:
        for observer in self.observers:
            observer.on_step_start(epoch, step)
        if not self.parts.model.training:  # it walks through all modules
            self.parts.model.train()
        yield
        for observer in self.observers:
            observer.on_step_end(epoch, step, batch.targets_N.numel())

    def evaluate(self, split: str, block: int | None = None) -> dict[str, float]:
        """Metrics on `valid`, `test` or a name of `earlier` or `ahead`, or on one block."""
        return self.ranked(split, block)[0]

    def ranked(self, split: str, block: int | None = None) -> tuple[dict[str, float], TargetRanks]:
        """The metrics, and the rank of each target, as `Evaluator.ranked` has it."""
        # Their users are chosen already.
        held_out, max_users = (self.earlier | self.ahead).get(split), 0
        if held_out is None:
            held_out, max_users = getattr(self.data.split, split), self.spec.data.max_eval_users
        popularity_V = None
        if split == "test" and block is None:  # once a run: a GPU is waited for
            popularity_V = item_popularity(self.data.split.train, self.evaluator.num_items)
        with self.announce(Phase.EVALUATE), products_in("fp32"):
            return self.evaluator.ranked(
                self.parts.model, held_out, max_users, block=block, popularity_V=popularity_V
            )

    def fit(
        self,
        stop: Callable[[], bool] = lambda: False,
        keep: Path | None = None,
        keep_when: Callable[[], bool] = lambda: False,
        fit: Fit | None = None,
        *,
        shared: Path | None = None,
    ) -> Fit:
        """Train until patience, epochs or steps run out, or `stop()` says so at an epoch's end.

        Pre-training comes first, until its epochs or steps run out. It is then kept in the folder
        `shared`, or taken from there where another run has left it.
        Patience counts validations without a better one from the first that is clearly above the
        popularity list, at the latest after 2,000 updates: losses with many negatives stand level
        with that list for hundreds of updates before they pass losses with few. The best weights,
        by `evaluate.metric` on validation, are back in the model at the end; with `ema_decay` it is
        their average that is validated and kept.

        With a folder `keep`, a checkpoint is written at an epoch's end whenever `keep_when()` says
        so, and training goes on from one that is there. Raises Diverged.
        """
        train = self.spec.train
        fit = Fit() if fit is None else fit
        with ExitStack() as stack:
            folder = keep or stack.enter_context(temporary_folder("scalelab-train-"))
            if keep is not None:
                self._resume(fit, keep)
            if shared is not None and len(fit.pretraining) < self._pretraining_epochs:
                take_shared(shared, self.parts, fit)
            while fit.stopped is None and len(fit.pretraining) < self._pretraining_epochs:
                pretrain_epoch(self, fit)
                if shared is not None and len(fit.pretraining) == self._pretraining_epochs:
                    save_shared(shared, self.parts, fit)
                fit.stopped = "request" if stop() else None
                self._keep_if_due(fit, keep, keep_when)
            while fit.stopped is None:
                loss = self._train_epoch(fit)
                last = fit.epoch == train.epochs or 0 < train.max_steps <= fit.steps
                metrics: dict[str, float] = {}
                if fit.epoch % train.eval_every == 0 or last:
                    with averaged(self.parts.optimizers):
                        metrics = self.evaluate("valid")
                        self._judge(fit, metrics, folder, last)
                for observer in self.observers:
                    observer.on_epoch_end(fit.epoch, loss, metrics)
                if last:
                    fit.stopped = "steps" if fit.epoch < train.epochs else "epochs"
                elif train.patience and fit.without_better >= train.patience:
                    fit.stopped = "patience"
                elif stop():
                    fit.stopped = "request"
                self._keep_if_due(fit, keep, keep_when)
            if fit.best_epoch is not None and (train.ema_decay or fit.best_epoch != fit.epoch):
                checkpoint.load_best(folder, self.parts.model, fit.best_epoch)
        return fit

    @property
    def _pretraining_epochs(self) -> int:
        return 0 if self.pretraining is None else self.pretraining.num_epochs

    def _train_epoch(self, fit: Fit) -> float:
        train = self.spec.train
        total = torch.zeros((), device=self.parts.device, dtype=torch.float64)
        positions = 0
        end = self.loader.num_steps
        if train.max_steps:
            end = min(end, train.max_steps - fit.steps)
        with self.randomness(fit.epoch), self.batches(self.loader, fit.epoch) as batches:
            shares = self._shares(fit.epoch, end)
            for number, (batch, share) in enumerate(zip(batches, shares, strict=False)):
                final = number == end - 1
                update = (number + 1) % train.accumulate == 0 or final
                if update:
                    set_rates(self.parts.optimizers, train, fit.updates, self.loader.num_steps)
                loss = self.step(batch, fit.epoch + 1, number, update=update, share=share)
                total += loss.double() * batch.targets_N.numel()
                positions += batch.targets_N.numel()
                fit.steps += 1
                fit.updates += update
                if final or number % LOOK_EVERY == 0:
                    must_be_finite(total, f"epoch {fit.epoch + 1}, step {number}")
                if fit.steps == train.max_steps:
                    break
        fit.epoch += 1
        return float(total) / max(positions, 1)

    def _shares(self, epoch: int, end: int) -> Iterator[float]:
        """What share of its window's positions each step holds, up to step `end` of the epoch.

        They are read only after the first batch: then the epoch is planned.
        """
        offsets = self.loader.plan(epoch).position_offsets
        accumulate = self.spec.train.accumulate
        for step in range(end):
            first = step - step % accumulate
            window = offsets[min(first + accumulate, end)] - offsets[first]
            yield float((offsets[step + 1] - offsets[step]) / window)

    @contextmanager
    def batches(self, loader: Loader, epoch: int) -> Iterator[Iterator[Batch]]:
        """Batches of an epoch, on the device; taking one is a phase of its own."""
        source = iter(loader.epoch(epoch))

        def announced() -> Iterator[Batch]:
            while True:
                with self.announce(Phase.DATA):
                    batch = next(source, None)
                    if batch is None:
                        return
                    batch = self.to_device(batch)
                yield batch

        try:
            yield announced()
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def _judge(self, fit: Fit, metrics: dict[str, float], folder: Path, last: bool) -> None:
        value = metrics[self.spec.evaluate.metric]
        fit.history.append((fit.epoch, metrics))
        fit.patience_counts |= left_plateau(value, self.popularity, fit.updates)
        if value > fit.best_metric:
            fit.best_metric, fit.best_epoch, fit.without_better = value, fit.epoch, 0
            if not last or self.spec.train.ema_decay:  # those of the last are in the model already
                checkpoint.save_best(folder, self.parts.model, fit.epoch)
        elif fit.patience_counts:
            fit.without_better += 1

    def _keep_if_due(self, fit: Fit, folder: Path | None, keep_when: Callable[[], bool]) -> None:
        # A checkpoint of a finished training would be trained further by who finds it.
        due = fit.stopped == "request" or (fit.stopped is None and keep_when())
        if folder is not None and due:
            parts, best = self.parts, fit.best_epoch
            checkpoint.save_state(
                folder, parts.model, parts.optimizers, facts=fit.facts(), best_epoch=best
            )

    def _resume(self, fit: Fit, folder: Path) -> None:
        facts = checkpoint.load_state(folder, self.parts.model, self.parts.optimizers)
        if facts is not None:
            fit.take(facts)
