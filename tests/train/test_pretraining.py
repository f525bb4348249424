"""A model is pre-trained first; then its training begins with those weights and new optimizers."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab.core.errors import SpecError
from scalelab.core.events import Observer, Progress
from scalelab.core.identity import RESULTS_VERSION, configuration_of
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.measure.passes import evaluation_pass, training_pass
from scalelab.measure.session import run
from scalelab.planning.devices import load_device
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble
from scalelab.train.kept_model import load_model
from tests.train.pretraining import Epochs, same, weights, write_attributes

Small = Callable[..., RunSpec]
Pretrained = Callable[..., RunSpec]


@pytest.mark.slow
def test_pretraining_lowers_each_objective(pretrained: Pretrained) -> None:
    fit = assemble(pretrained({"model.pretrain_epochs": 12, "train.epochs": 1})).fit()
    (_, first), *_, (_, last) = fit.pretraining
    assert set(first) == {"aap", "mip", "map", "sp"}
    assert [epoch for epoch, _ in fit.pretraining] == list(range(1, 13))
    # By segments so short are told apart slowly.
    for name, share in (("aap", 0.8), ("mip", 0.95), ("map", 0.8), ("sp", 1.0)):
        assert last[name] < share * first[name], name


def test_training_begins_with_the_pretrained_weights_and_fresh_optimizers(
    pretrained: Pretrained,
) -> None:
    trainer = assemble(pretrained())
    first = weights(trainer)
    noted: dict[str, Any] = {}

    class AtFirstStep(Observer):
        def on_pretraining_epoch_end(self, epoch: int, objectives: Any) -> None:
            noted["pretrained"] = weights(trainer)

        def on_epoch_end(self, epoch: int, loss: float, metrics: Any) -> None:
            noted.setdefault("steps", {s["step"].item() for s in state.values()})

        def on_step_start(self, epoch: int, step: int) -> None:
            if "pretrained" in noted and "begun" not in noted and trainer_is_training():
                noted["begun"], noted["state"] = weights(trainer), len(state)

    def trainer_is_training() -> bool:
        return len(fit_epochs) == 2

    fit_epochs: list[int] = []

    class Count(Observer):
        def on_pretraining_epoch_end(self, epoch: int, objectives: Any) -> None:
            fit_epochs.append(epoch)

    state = trainer.parts.optimizer.state
    with trainer.observed_by([AtFirstStep(), Count()]):
        trainer.fit()
    assert not same(first, noted["pretrained"])
    assert same(noted["begun"], noted["pretrained"])
    assert noted["state"] == 0
    assert noted["steps"] == {trainer.loader.num_steps}


@pytest.mark.slow
def test_a_run_without_pretraining_is_another(pretrained: Pretrained) -> None:
    with_, without = assemble(pretrained()), assemble(pretrained({"model.pretrain_epochs": 0}))
    assert without.pretraining is None
    assert with_.fit().history != without.fit().history


@pytest.mark.slow
def test_a_run_repeats_to_the_bit(pretrained: Pretrained) -> None:
    one, two = assemble(pretrained()), assemble(pretrained())
    first, second = one.fit(), two.fit()
    assert first.pretraining == second.pretraining
    assert first.history == second.history
    assert same(weights(one), weights(two))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "samples"), [(1, "histories"), (2, "histories"), (3, "histories"), (1, "prefixes")]
)
def test_an_interrupted_run_goes_on_where_it_stopped(
    pretrained: Pretrained, tmp_path: Path, after: int, samples: str
) -> None:
    """Within pre-training, at its end, and after the first epoch of training."""
    size = {"model.pretrain_batch_size": 300} if samples == "prefixes" else {}
    spec = pretrained({"model.pretrain_samples": samples, **size})
    undisturbed, begun, resumed = (assemble(spec) for _ in range(3))
    expected = undisturbed.fit()
    calls = iter(range(1, 9))
    fit = begun.fit(stop=lambda: next(calls) == after, keep=tmp_path / "keep")
    assert fit.stopped == "request"
    noted = Epochs()
    with resumed.observed_by([noted]):
        fit = resumed.fit(keep=tmp_path / "keep")
    whole = [("pretrain", 1), ("pretrain", 2), ("train", 1), ("train", 2), ("train", 3)]
    assert noted.ended == whole[after:]
    assert fit.pretraining == expected.pretraining
    assert fit.history == expected.history
    assert same(weights(resumed), weights(undisturbed))


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(
    pretrained: Pretrained, tmp_path: Path
) -> None:
    spec = pretrained({"model.pretrain_epochs": 3})
    undisturbed, killed, resumed = (assemble(spec) for _ in range(3))
    expected = undisturbed.fit()
    with killed.observed_by([Epochs(fail_after=2)]), pytest.raises(RuntimeError):
        killed.fit(keep=tmp_path / "keep", keep_when=lambda: True)
    noted = Epochs()
    with resumed.observed_by([noted]):
        fit = resumed.fit(keep=tmp_path / "keep")
    assert noted.ended[:2] == [("pretrain", 2), ("pretrain", 3)]
    assert fit.history == expected.history
    assert same(weights(resumed), weights(undisturbed))


def test_max_steps_ends_pretraining_too(pretrained: Pretrained) -> None:
    spec = pretrained({"train.max_steps": 12, "model.pretrain_epochs": 50})
    trainer = assemble(spec)
    steps: list[int] = []

    class Count(Observer):
        def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
            steps.append(num_positions)

    with trainer.observed_by([Count()]):
        fit = trainer.fit()
    assert trainer.loader.num_steps < 12
    assert len(fit.pretraining) == 2
    assert len(steps) == 24


# In the first the step of pre-training takes more, in the second that of training.
LARGER = {
    "pretraining": {"model.sp_weight": 0.5},
    "training": {"model.sp_weight": 0.0, "loss.name": "dense_ce", "data.num_items": 3000},
}
OTHERS = [
    {"model.attributes": ""},
    {"model.pretrain_samples": "prefixes", "model.pretrain_batch_size": 7},
    {"model.pretrain_samples": "prefixes", "batch.max_len": 3, "batch.packer": "pad_left"},
    {"train.ema_decay": 0.99, "train.accumulate": 2},
    {"train.table.optimizer": "rowwise_adagrad", "batch.packer": "pad_left"},
    {"train.clip_norm": 1.0, "train.optimizer": "sgd"},
    {"loss.name": "bce", "train.max_steps": 3},
    {"model.pretrain_epochs": 0},
]


@pytest.mark.parametrize(
    "changes",
    [*LARGER.values(), *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_the_predicted_peak_is_the_measured_one(
    pretrained: Pretrained, changes: dict[str, Any]
) -> None:
    spec = pretrained(changes)
    trainer = assemble(spec)
    account, choice = training_pass(trainer)
    of_block, _ = evaluation_pass(trainer)
    prediction = predict(spec, load_device("cpu"))
    for predicted, measured in (
        (prediction.memory["requested"], account),
        (prediction.evaluation["requested"], of_block),
    ):
        assert predicted["total"] == measured.peak_bytes
        for component, count in measured.peak_components().items():
            assert predicted.get(component, 0) == count, component
    assert prediction.largest_step == choice
    if changes in LARGER.values():
        assert choice.is_pretraining == (changes is LARGER["pretraining"])
    table = 4 * (30 * 16 + 2 * (spec.data.options["num_items"] + 1))
    assert prediction.memory["requested"].get("attribute_table", 0) == (
        table if spec.model.options["attributes"] else 0
    )


@pytest.mark.slow
def test_the_account_of_a_run_is_the_allocators_own_count(pretrained: Pretrained) -> None:
    said: list[Progress] = []
    record = run(pretrained(), run_id="r", report=said.append)
    assert record.run.outcome is Outcome.DONE, record.run.error
    phases = list(dict.fromkeys((one.phase, one.epochs) for one in said if one.phase != "evaluate"))
    assert phases[-1] == ("train", 3)
    assert set(phases[:-1]) <= {("pretrain", 2)}
    assert record.run.account_error == pytest.approx(0.0, abs=1e-3)
    assert [s.value for s in record.samples if s.name == "pretraining"] == [1]
    found = {(m.epoch, m.name) for m in record.metrics if m.split == "pretrain"}
    assert found == {(epoch, name) for epoch in (1, 2) for name in ("aap", "mip", "map", "sp")}
    undisturbed = assemble(pretrained())
    expected = undisturbed.fit().history
    timed = [sample for sample in record.samples if sample.name == "step_s"]
    assert len(timed) == 3 * undisturbed.loader.num_steps - 3, "the first three warm up"
    for epoch, metrics in expected:
        value = next(
            m.value
            for m in record.metrics
            if (m.split, m.epoch, m.name, m.k) == ("valid", epoch, "ndcg", 10)
        )
        assert value == metrics["ndcg@10"], "measuring has changed the training"


@pytest.mark.slow
def test_pretraining_counts_in_seconds(pretrained: Pretrained) -> None:
    short, long = (
        predict(pretrained({"model.pretrain_epochs": epochs}), load_device("cpu"))
        for epochs in (0, 10)
    )
    assert long.run_s.low > short.run_s.low + 10 * short.steps_per_epoch * short.step_s.low / 2


@pytest.mark.slow
def test_prefixes_are_more_steps_of_their_own_size(pretrained: Pretrained) -> None:
    prefixes = {"model.pretrain_samples": "prefixes", "model.pretrain_batch_size": 250}
    whole, parts = pretrained({"train.epochs": 1}), pretrained({"train.epochs": 1, **prefixes})
    trainer = assemble(parts)
    assert trainer.pretraining is not None
    lengths = trainer.data.split.train.lengths
    number = int(np.minimum(lengths, parts.batch.max_len)[lengths > 1].sum() - (lengths > 1).sum())
    steps = -(-number // 250)
    assert trainer.pretraining.loader.num_steps == steps
    said: list[Progress] = []
    record = run(parts, run_id="r", report=said.append)
    assert record.run.outcome is Outcome.DONE, record.run.error
    assert {one.num_steps for one in said if one.phase == "pretrain"} <= {steps}
    predicted, less = (predict(spec, load_device("cpu")) for spec in (parts, whole))
    assert predicted.steps_per_epoch == less.steps_per_epoch == trainer.loader.num_steps
    index = trainer.pretraining.loader.prefix_bytes
    assert index > 8 * number
    beside, less_beside = (
        (plan.host_rss_bytes or 0) - plan.needed_bytes for plan in (predicted, less)
    )
    assert beside - less_beside == index


def test_a_changed_file_is_another_run_and_another_name_is_not(
    pretrained: Pretrained, tmp_path: Path
) -> None:
    def identities(spec: RunSpec) -> tuple[str, str]:
        return spec.fingerprint("d"), configuration_of(spec.as_sections(), "d", RESULTS_VERSION)

    spec = pretrained()
    moved = write_attributes(tmp_path / "other.json")
    assert identities(spec) == identities(pretrained({"model.attributes": str(moved)}))
    assert identities(spec) != identities(pretrained({"model.attributes": ""}))
    write_attributes(tmp_path / "attributes.json", num_attributes=29)
    changed = pretrained({"model.attributes": str(moved)}), spec.with_({})
    before, after = map(identities, changed)
    assert before[0] != after[0]
    assert before[1] != after[1]
    with pytest.raises(SpecError, match=r"item attributes is not what it was"):
        assemble(spec)


def test_unknown_items_are_counted(
    pretrained: Pretrained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_attributes(tmp_path / "more.json", num_items=200)
    with caplog.at_level(logging.WARNING):
        assemble(pretrained({"model.attributes": str(file)}))
    (line,) = [record.getMessage() for record in caplog.records]
    num_items = pretrained().data.options["num_items"]
    assert f"{199 - num_items} of its items are not in the data set, 0 of" in line


def test_a_file_that_is_not_there_is_one_clear_line(pretrained: Pretrained) -> None:
    spec = pretrained({"model.attributes": "nowhere.json"})
    refused: list[Callable[[], object]] = [
        lambda: assemble(spec),
        lambda: predict(spec, load_device("cpu")),
        lambda: spec.fingerprint("d"),
    ]
    for call in refused:
        with pytest.raises(SpecError, match=r"no file of item attributes 'nowhere.json'"):
            call()


def test_a_streamed_update_is_refused(pretrained: Pretrained) -> None:
    streamed = {"train.table.update": "streamed"}
    with pytest.raises(SpecError, match="pre-training holds the gradient of the whole item table"):
        assemble(pretrained(streamed))
    assemble(pretrained({**streamed, "model.pretrain_epochs": 0})).fit()


def test_prefixes_are_refused(pretrained: Pretrained) -> None:
    prefixes = {"batch.packer": "prefixes"}
    with pytest.raises(SpecError, match="pre-training hides items of whole histories"):
        assemble(pretrained(prefixes))
    with pytest.raises(SpecError, match="pre-training hides items of whole histories"):
        predict(pretrained(prefixes), load_device("cpu"))
    assemble(pretrained({**prefixes, "model.pretrain_epochs": 0, "train.epochs": 1})).fit()


def test_a_kept_model_needs_no_attributes(pretrained: Pretrained, tmp_path: Path) -> None:
    spec = pretrained({"train.epochs": 1})
    record = run(spec, run_id="r", save_model=tmp_path / "kept")
    assert record.run.outcome is Outcome.DONE, record.run.error
    (tmp_path / "attributes.json").unlink()
    kept = load_model(tmp_path / "kept", "cpu")
    assert kept.num_items == spec.data.options["num_items"]
