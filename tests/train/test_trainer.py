"""Training learns, stops early, starts over and goes on from a checkpoint with the same numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from scalelab.core import plugins
from scalelab.core.events import Observer, Phase
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble
from scalelab.train.trainer import Diverged, Fit, Trainer

Small = Callable[..., RunSpec]

# The exact loss and a sampled one in every case, the others where there is time.
LOSSES = [
    "cross_entropy",
    "sampled_softmax",
    *(pytest.param(each, marks=pytest.mark.slow) for each in ("dense_ce", "bce")),
]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in trainer.parts.model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("dense_ce", "sampled_softmax", "bce")
        ),
    ],
)
def test_training_beats_chance_by_far(small: Small, loss: str) -> None:
    trainer = assemble(small({"loss.name": loss, "train.epochs": 12}))
    trainer.fit()
    assert trainer.evaluate("test")["hr@10"] > 2.5 * 10 / trainer.parts.num_items


@pytest.mark.slow
@pytest.mark.parametrize("model", plugins.available("models"))
def test_every_model_learns_what_comes_next(model: str, tmp_path: Path) -> None:
    """Each user walks round the same circle of 25 items, from a start of their own."""
    rng = np.random.default_rng(0)
    walks = [(rng.integers(0, 25) + np.arange(rng.integers(4, 9))) % 25 for _ in range(200)]
    table = {
        "user": np.repeat(np.arange(200), [len(walk) for walk in walks]),
        "item": np.concatenate(walks),
        "ts": np.concatenate([np.arange(len(walk)) for walk in walks]),
    }
    pq.write_table(pa.table(table), tmp_path / "walks.parquet")
    wanted = {"hidden_dim": 32, "dropout": 0.0, "num_blocks": 1, "mask_prob": 0.4}
    has = plugins.options("models", model)
    options = {key: value for key, value in wanted.items() if key in has}
    tables = {
        "data": {"reader": "table", "path": str(tmp_path / "walks.parquet"), "exclude_seen": False},
        "batch": {"size": 32, "max_len": 10},
        "model": {"name": model, **options},
        "loss": {"name": "cross_entropy"},
        "train": {"epochs": 30, "learning_rate": 3e-3, "patience": 0, "eval_every": 30},
    }
    trainer = assemble(RunSpec.build(tables))
    trainer.fit()
    # By chance 0.18; who guesses masked items learns more slowly.
    assert trainer.evaluate("test")["ndcg@10"] > (0.45 if "mask_prob" in has else 0.9)


@pytest.mark.parametrize(
    "packer", [name for name in plugins.available("packers") if name != "prefixes"]
)
@pytest.mark.parametrize("positions", ["all", "last"])
@pytest.mark.parametrize("model", ["sasrec", "bert4rec"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_do_not_depend_on_the_packer(
    small: Small, packer: str, positions: str, loss: str, model: str
) -> None:
    found = []
    for name in ("pad_left", packer):
        changes = {"batch.packer": name, "loss.name": loss, "loss.train_on": positions}
        trainer = assemble(small(changes | {"model.name": model, "model.dropout": 0.0}))
        trainer.parts.model.double()
        gradients: dict[str, torch.Tensor] = {}
        for key, parameter in trainer.parts.model.named_parameters():
            parameter.register_post_accumulate_grad_hook(
                lambda p, key=key, gradients=gradients: gradients.update({key: p.grad.clone()})
            )
        value = trainer.step(trainer.loader.batch(0, 1), 1, 1)
        found.append((value, gradients))
    (value, gradients), (other_value, other_gradients) = found
    torch.testing.assert_close(value, other_value, rtol=0, atol=1e-10)
    for key in gradients:
        torch.testing.assert_close(gradients[key], other_gradients[key], rtol=0, atol=1e-10)


def test_same_seed_same_numbers_another_seed_others(small: Small) -> None:
    first, second = assemble(small()), assemble(small())
    history = first.fit().history
    assert history == second.fit().history
    assert same(weights(first), weights(second))
    other = assemble(small({"train.seed": 1}))
    assert other.fit().history != history


def test_training_leaves_the_process_generator_alone(small: Small) -> None:
    before = torch.random.get_rng_state()
    assemble(small()).fit()
    assert torch.equal(before, torch.random.get_rng_state())


def test_reset_starts_over(small: Small) -> None:
    trainer = assemble(small())
    history = trainer.fit().history
    trainer.reset()
    assert trainer.fit().history == history


@pytest.mark.slow
def test_patience_stops_and_the_best_weights_come_back(small: Small) -> None:
    spec = small({"train.epochs": 40, "train.patience": 2, "train.learning_rate": 0.02})
    trainer = assemble(spec)
    fit = trainer.fit()
    assert fit.stopped == "patience"
    assert fit.epoch == fit.best_epoch + 2
    assert trainer.evaluate("valid")["ndcg@10"] == pytest.approx(fit.best_metric)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_stopped_run_goes_on_as_if_undisturbed(
    small: Small, tmp_path: Path, ema_decay: float
) -> None:
    changes = {"train.epochs": 4, "loss.name": "sampled_softmax"}
    spec = small(changes | {"train.ema_decay": ema_decay})
    undisturbed = assemble(spec)
    expected = undisturbed.fit()
    stopped = assemble(spec).fit(stop=lambda: True, keep=tmp_path)
    assert (stopped.epoch, stopped.stopped) == (1, "request")
    resumed = assemble(spec)
    fit = resumed.fit(keep=tmp_path)
    assert fit.history == expected.history
    assert fit.steps == expected.steps
    assert same(weights(resumed), weights(undisturbed))


def test_a_finished_training_leaves_nothing_to_go_on_from(small: Small, tmp_path: Path) -> None:
    spec = small({"train.epochs": 2, "train.patience": 0})
    assemble(spec).fit(keep=tmp_path, keep_when=lambda: True)
    again = assemble(spec).fit(keep=tmp_path)
    assert (again.epoch, again.stopped) == (2, "epochs")


def test_max_steps_stops_inside_an_epoch(small: Small) -> None:
    fit = assemble(small({"train.max_steps": 5})).fit()
    assert (fit.steps, fit.stopped) == (5, "steps")
    assert len(fit.history) == 1


class Epochs(Observer):
    """Weights and loss at the end of every epoch."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.weights: list[dict[str, torch.Tensor]] = []
        self.losses: list[float] = []

    def on_epoch_end(self, epoch: int, loss: float, metrics: dict[str, float]) -> None:
        self.weights.append(weights(self.trainer))
        self.losses.append(loss)


# 300 sequences: the last larger step of an epoch has 12, the last window two steps, of 8 and of 4.
@pytest.mark.parametrize(
    ("larger", "accumulated"),
    [
        ({"batch.size": 32}, {"batch.size": 8, "train.accumulate": 4}),
        ({"batch.size": 300}, {"batch.size": 8, "train.accumulate": 1000}),
        (
            {"batch.size": 16, "train.max_steps": 1},
            {"batch.size": 8, "train.accumulate": 4, "train.max_steps": 2},
        ),
    ],
    ids=["windows", "one window an epoch", "a window that max_steps cuts"],
)
@pytest.mark.parametrize("positions", ["all", "last"])
@pytest.mark.parametrize("loss", LOSSES)
def test_accumulated_steps_are_one_larger_step(
    small: Small,
    loss: str,
    positions: str,
    larger: dict[str, object],
    accumulated: dict[str, object],
) -> None:
    always = {"loss.name": loss, "loss.train_on": positions, "model.dropout": 0.0}
    always |= {"train.optimizer": "sgd", "train.learning_rate": 0.5, "train.epochs": 2}
    found = []
    for changes in (larger, accumulated):
        trainer = assemble(small(always | changes))
        trainer.parts.model.double()
        first = weights(trainer)
        epochs = Epochs(trainer)
        with trainer.observed_by([epochs]):
            trainer.fit()
        assert not same(first, epochs.weights[-1])
        found.append(epochs)
    torch.testing.assert_close(found[0].losses, found[1].losses, rtol=0, atol=1e-6)
    for key, value in found[0].weights[-1].items():
        torch.testing.assert_close(found[1].weights[-1][key], value, rtol=0, atol=1e-6)


def test_accumulation_updates_once_a_window(small: Small) -> None:
    updates = []

    class CountUpdates(Observer):
        def on_phase_start(self, phase: Phase) -> None:
            updates.append(phase == Phase.OPTIMIZER)

    trainer = assemble(small({"train.accumulate": 4, "train.max_steps": 9}))
    with trainer.observed_by([CountUpdates()]):
        trainer.fit()
    assert sum(updates) == 3


def test_a_loss_that_is_not_finite_is_told(small: Small) -> None:
    trainer = assemble(small())
    with torch.no_grad():
        trainer.parts.model.positions.fill_(torch.nan)
    with pytest.raises(Diverged, match="epoch 1"):
        trainer.fit(fit=Fit())


@pytest.mark.slow
def test_bf16_learns_and_keeps_fp32_weights(small: Small) -> None:
    trainer = assemble(small({"train.precision": "bf16", "train.epochs": 12}))
    trainer.fit()
    assert {p.dtype for p in trainer.parts.model.parameters()} == {torch.float32}
    assert trainer.evaluate("test")["hr@10"] > 2.5 * 10 / trainer.parts.num_items


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_average_follows_its_formula_and_is_what_is_validated(
    small: Small, optimizer: str
) -> None:
    decay = 0.9
    spec = small({"train.ema_decay": decay, "train.optimizer": optimizer, "train.epochs": 2})
    trainer = assemble(spec)
    expected: dict[str, torch.Tensor] = {}

    class Follow(Observer):
        def on_step_end(self, epoch: int, step: int, positions: int) -> None:
            for key, now in weights(trainer).items():
                before = expected.get(key, now)
                expected[key] = decay * before + (1 - decay) * now

    kept: list[dict[str, torch.Tensor]] = []

    class Judge(Observer):
        def on_phase_end(self, phase: Phase) -> None:
            if phase is Phase.EVALUATE:
                kept.append(weights(trainer))
                for key, value in kept[-1].items():
                    torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-7)

    with trainer.observed_by([Follow(), Judge()]):
        fit = trainer.fit()
    assert len(kept) == 2
    assert fit.best_epoch is not None
    assert same(weights(trainer), kept[fit.best_epoch - 1])


def test_an_average_of_decay_zero_is_no_average(small: Small) -> None:
    plain, other = assemble(small()), assemble(small({"train.ema_decay": 1e-9}))
    assert not any("average" in state for state in plain.parts.optimizer.state.values())
    for ours, theirs in zip(plain.fit().history, other.fit().history, strict=True):
        assert ours[1]["ndcg@10"] == pytest.approx(theirs[1]["ndcg@10"], abs=1e-6)


def test_only_a_loss_that_reads_popularity_has_it_on_the_device(small: Small) -> None:
    def held(**loss: object) -> bool:
        spec = small({f"loss.{key}": value for key, value in loss.items()})
        return assemble(spec).parts.log_popularity_V is not None

    assert not held(name="cross_entropy")
    assert not held(name="sampled_softmax")
    assert held(name="sampled_softmax", logq=0.5)
