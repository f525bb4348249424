from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra, PredictionUnsupported, SpecError
from scalelab.core.limits import Limits
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.core.units import GIB, MIB
from scalelab.measure.account_check import account_error
from scalelab.measure.passes import account_of, batch_tensors, evaluation_pass, training_pass
from scalelab.measure.session import run
from scalelab.planning import predict as predicting
from scalelab.planning.cost import Cost
from scalelab.planning.devices import load_device
from scalelab.planning.predict import predict
from scalelab.planning.roofline import Seconds
from scalelab.train.assemble import assemble
from scalelab.train.evaluate import Evaluator

Small = Callable[[dict[str, Any]], RunSpec]


def _runnable(kind: str) -> list[str]:
    found = []
    for name in plugins.available(kind):
        try:
            plugins.load(kind, name)
        except MissingExtra:
            continue
        if name not in {"cut_ce", "liger_ce"}:  # these run on a GPU alone
            found.append(name)
    return found


BF16 = {"model.table_dtype": "bf16"}
QUANTISED = {"table": {"name": "product_quantised", "num_parts": 4, "num_codes": 32}}
VARIANTS = [
    *({"loss.name": loss} for loss in _runnable("losses")),
    *({"model.name": model, "train.precision": "bf16"} for model in _runnable("models")),
    {"loss.name": "dense_ce", "train.precision": "bf16"},
    {"loss.name": "bce", "train.accumulate": 3, "negatives.per": "sequence"},
    {"train.ema_decay": 0.99},
    {"batch.packer": "pad_left", "train.optimizer": "sgd", "loss.train_on": "last"},
    {"loss.name": "sampled_softmax", "negatives.per": "batch", "negatives.num_negatives": 300},
    {"loss.name": "sampled_softmax", "loss.logq": 1.0},
    *(
        {"train.table.update": "streamed", "train.table.optimizer": rule, "loss.name": loss} | more
        for rule, loss, more in (
            ("adamw", "cross_entropy", {}),
            ("rowwise_adagrad", "cross_entropy", {"data.num_items": 40_000, "batch.size": 8}),
            ("rowwise_adam", "cross_entropy", {"train.accumulate": 3, "train.clip_norm": 1.0}),
            ("sgd", "cross_entropy", {"train.precision": "bf16"}),
            ("lazy_adam", "sampled_softmax", {"negatives.per": "batch"}),
            ("lazy_adam", "bce", {"batch.size": 2, "negatives.num_negatives": 900}),
            ("adamw", "sampled_softmax", {"data.num_items": 40_000, "batch.size": 8}),
            ("rowwise_adagrad", "gbce", {"train.table.weight_decay": 0.1}),
            ("adam", "bpr_max", {"train.accumulate": 3, "train.table.clip_value": 0.1}),
            ("adamw", "cross_entropy", BF16),
            ("rowwise_adagrad", "cross_entropy", {**BF16, "data.num_items": 40_000}),
            ("lazy_adam", "sampled_softmax", BF16),
            ("adam", "cross_entropy", QUANTISED),
            ("rowwise_adagrad", "bce", {**QUANTISED, "train.accumulate": 3}),
        )
    ),
    {"train.table.optimizer": "rowwise_adam", "train.ema_decay": 0.99},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: "-".join(map(str, c.values())))
def test_the_predicted_peak_is_the_measured_one(changes: dict[str, Any], small: Small) -> None:
    spec = small(changes)
    account, _ = training_pass(assemble(spec))
    predicted = predict(spec, load_device("cpu")).memory["requested"]
    # Of bf16 oneDNN's buffers are asked for with zeros of the same sizes: nearly the same.
    inexact = 1e-3 * account.peak_bytes if spec.train.precision == "bf16" else 0
    assert abs(predicted["total"] - account.peak_bytes) <= inexact
    for component, count in account.peak_components().items():
        assert abs(predicted.get(component, 0) - count) <= inexact, component
    assert sum(predicted.values()) == 2 * predicted["total"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        *({"model.name": model, "train.precision": "bf16"} for model in _runnable("models")),
        {"data.exclude_seen": True},
        {"data.max_eval_users": 40, "train.ema_decay": 0.99, "batch.max_len": 7},
        {"data.num_items": 30_000, "batch.size": 4},
        {"train.table.update": "streamed", **BF16},
        {"train.table.update": "streamed", **QUANTISED},
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_the_memory_of_evaluation_is_predicted(changes: dict[str, Any], small: Small) -> None:
    spec = small(changes)
    trainer = assemble(spec)
    training_pass(trainer)
    account, _ = evaluation_pass(trainer)
    prediction = predict(spec, load_device("cpu"))
    predicted = prediction.evaluation["requested"]
    assert predicted == {
        "total": account.peak_bytes,
        **{name: count for name, count in account.peak_components().items() if count},
    }
    assert {row.stage for row in prediction.rows()} == {"train", "eval"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        {"loss.name": "cross_entropy"},
        {"loss.name": "sampled_softmax", "negatives.per": "batch"},
    ],
    ids=lambda c: c["loss.name"],
)
def test_a_quantised_table_is_predicted_for_a_gpu(loss: dict[str, Any], small: Small) -> None:
    changes = loss | {"train.table.update": "streamed", **QUANTISED}
    full, quantised = (
        predict(small(each), load_device("h100")).memory["requested"]["item_table"]
        for each in (loss, changes)
    )
    # Codes of one byte for each of four parts, and their codewords.
    assert quantised == 4 * 4001 + 4 * 32 * 32 < full


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"train.table.update": "streamed", **BF16}])
def test_panels_of_scores_are_predicted_and_bound_the_memory(
    changes: dict[str, Any], small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = predict(small(changes | {"data.num_items": 50_000_000, "loss.name": "bce"}))
    assert huge.evaluation["requested"]["evaluation_workspace"] < 150 * 2**20
    monkeypatch.setattr(Evaluator, "panel_numbers", 64 * 130)
    spec = small(changes)
    trainer = assemble(spec)
    training_pass(trainer)
    account, _ = evaluation_pass(trainer)
    predicted = predict(spec, load_device("cpu")).evaluation["requested"]
    assert predicted["total"] == account.peak_bytes


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
@pytest.mark.slow
def test_a_streamed_update_holds_no_gradient_of_the_table(loss: str, small: Small) -> None:
    """One table, one number a row, and what does not grow with the catalog."""
    found = []
    for num_items in (40_000, 160_000):
        changes = {"data.num_items": num_items, "batch.size": 8, "loss.name": loss}
        changes |= {"train.table.optimizer": "rowwise_adagrad", "train.table.update": "streamed"}
        memory = predict(small(changes), load_device("cpu")).memory["requested"]
        assert memory.get("item_table_gradient", 0) == 0
        found.append(memory["total"])
    per_item = 4 * (32 + 1)
    assert (found[1] - found[0]) / 120_000 == pytest.approx(per_item, rel=0.01)


@pytest.mark.slow
def test_the_seconds_of_a_step_that_visits_touched_rows_do_not_grow_with_the_catalog(
    small: Small,
) -> None:
    def seconds(num_items: int, rule: str) -> float:
        changes = {"data.num_items": num_items, "batch.size": 8, "loss.name": "bce"}
        changes |= {"train.table.optimizer": rule, "train.table.update": "streamed"}
        return predict(small(changes), load_device("cpu")).step_s.low

    # Negatives per position are as many whatever the catalog.
    assert seconds(640_000, "lazy_adam") == pytest.approx(seconds(160_000, "lazy_adam"), rel=0.01)
    assert seconds(640_000, "adamw") > 2 * seconds(160_000, "adamw")


@pytest.mark.slow
def test_what_only_evaluation_has_no_room_for_does_not_fit(small: Small) -> None:
    spec = small({"data.num_items": 3000, "batch.size": 2, "loss.name": "bce"})
    whole = predict(spec, load_device("cpu"))
    assert whole.peak_bytes < whole.needed_bytes == whole.evaluation["requested"]["total"]
    short = predict(spec, load_device("cpu"), budget_bytes=whole.needed_bytes - 1)
    assert not short.fits
    assert "evaluation workspace, in evaluate" in (short.reason or "")
    record = run(spec, run_id="over", limits=Limits(memory_bytes=whole.needed_bytes - 1))
    assert record.run.outcome is Outcome.OOM
    assert "evaluation takes" in (record.run.error or "")


@pytest.mark.parametrize(
    ("changes", "num_steps"),
    [
        ({"train.accumulate": 4}, 4),
        # The update comes at the end of the epoch at the latest.
        ({"train.accumulate": 9}, 5),
    ],
)
@pytest.mark.slow
def test_a_streamed_update_keeps_what_all_its_steps_know(
    changes: dict[str, Any], num_steps: int, small: Small, profiler_peak: Any
) -> None:
    changes |= {"train.table.update": "streamed", "loss.name": "bce"}
    spec = small(changes)
    trainer = assemble(spec)
    account, choice = training_pass(trainer)
    assert predict(spec).memory["requested"]["total"] == account.peak_bytes
    assert account_error(trainer, account, choice, []) == 0.0
    batch = trainer.loader.batch_of(choice)

    def update() -> None:
        for number in range(num_steps):
            trainer.step(batch, 1, number, update=number == num_steps - 1)

    before = account_of(trainer)
    before.label("batch", batch_tensors(batch))
    expected = before.peak_bytes + profiler_peak(update)
    assert account.peak_bytes == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("update", ["dense", "streamed"])
@pytest.mark.slow
def test_the_seconds_of_a_step_share_the_update_of_accumulated_gradients(
    update: str, small: Small
) -> None:
    found = [
        predict(small({"train.table.update": update, "train.accumulate": count})).step_s.low
        for count in (1, 5)
    ]
    assert 0.5 * found[0] < found[1] < 1.05 * found[0]


def test_ties_of_panels_take_no_mask_of_a_panel_on_a_gpu(small: Small) -> None:
    """`count_nonzero` makes a second one, which fake tensors do not show: 100.8 MiB on an H100."""
    num_items = 20_000_000
    spec = small({"data.num_items": num_items, "loss.name": "bce", "data.max_eval_users": 64})
    found = predict(spec, load_device("h100")).evaluation["requested"]["evaluation_workspace"]
    # A panel of 64 MiB, a byte for each item that appeared in a list, a tenth of a panel beside.
    assert 64 * MIB + num_items < found < 64 * MIB + num_items + 7 * MIB


def test_a_step_is_counted_once_the_optimizer_has_its_state(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam makes two tensors a parameter in its first step, which are filled with zeros."""
    counted: list[Cost] = []
    seconds = predicting.step_seconds

    def noted(cost: Cost, *args: Any) -> Seconds:
        counted.append(cost)
        return seconds(cost, *args)

    monkeypatch.setattr(predicting, "step_seconds", noted)
    for optimizer in ("sgd", "adam"):
        predict(small({"train.optimizer": optimizer}), load_device("h100"))
    without, with_state = (sum(piece.kernels for piece in cost.pieces) for cost in counted)
    assert without <= with_state <= without + 2


def test_the_predicted_events_are_the_measured_ones(small: Small) -> None:
    """Not the peak alone: every event, in order, with its phase, component and bytes."""
    from scalelab.batches.steps import Steps
    from scalelab.datasets.load import lengths
    from scalelab.planning.fake_tensor_run import FakeTensorRun

    spec = small({"loss.name": "dense_ce"})
    measured, chosen = training_pass(assemble(spec))
    known = lengths(spec.data)
    steps = Steps(known.train, batch=spec.batch, seed=spec.train.seed)
    assert chosen in steps.largest_steps(spec.train.epochs)
    account = FakeTensorRun(spec, known.num_items).train(chosen.shape, steps.num_steps)

    def during_step(events: Any) -> list[tuple[str, str, int]]:
        counted = [e for e in events if e.phase not in ("setup", "")]
        return [(e.phase, e.component, e.bytes) for e in counted]

    real = during_step(measured.timeline())
    fake = during_step(account.timeline())
    # The fake run has the warm-up as well; its last step is the one that was measured.
    assert fake[-len(real) :] == real


@pytest.mark.parametrize(
    "device", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("cpu", "rtx3090")), "h100"]
)
@pytest.mark.parametrize("loss", ["cross_entropy", pytest.param("bce", marks=pytest.mark.slow)])
def test_kinds_contain_one_another(device: str, loss: str, small: Small) -> None:
    prediction = predict(small({"loss.name": loss}), load_device(device))
    totals = [prediction.memory[kind]["total"] for kind in prediction.memory]
    assert totals == sorted(totals)
    assert len(totals) == (1 if device == "cpu" else 4)
    assert prediction.fits
    assert prediction.reason is None
    for seconds in (prediction.step_s, prediction.run_s):
        assert 0 < seconds.low < seconds.high


@pytest.mark.slow
def test_what_does_not_fit_is_named_with_its_component(small: Small) -> None:
    spec = small({"loss.name": "dense_ce", "batch.size": 256})
    whole = predict(spec, load_device("cpu"))
    assert whole.fits
    short = predict(spec, load_device("cpu"), budget_bytes=whole.peak_bytes - 1)
    assert not short.fits
    assert short.overflow is not None
    assert short.overflow.component == "loss_workspace"
    assert short.overflow.num_bytes >= 2**20
    assert short.reason is not None
    assert "of loss workspace, in backward" in short.reason
    assert predict(spec, load_device("cpu"), budget_bytes=whole.peak_bytes).fits
    on_gpu = predict(spec, load_device("t4"), budget_bytes=200 * MIB)
    assert on_gpu.overflow is not None


def test_ten_million_items_are_predicted_without_making_them(small: Small) -> None:
    spec = small({"data.num_items": 10_000_000, "loss.name": "bce"})
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    prediction = predict(spec, load_device("rtx3090"))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Table, one gradient and Adam's two states.
    assert prediction.peak_bytes > 4 * 4 * 32 * 10_000_000
    assert (after - before) * 1024 < 200 * MIB


@pytest.mark.slow
def test_more_of_anything_takes_more_time(small: Small) -> None:
    device = load_device("cpu")
    plain = predict(small({"loss.name": "cross_entropy"}), device).step_s
    wider = predict(small({"loss.name": "cross_entropy", "data.num_items": 400_000}), device).step_s
    # A loss in tiles runs three of them on fake tensors: the others must still be counted.
    assert 30 < wider.low / plain.low < 120


def test_a_budget_above_the_device_is_refused(small: Small) -> None:
    with pytest.raises(SpecError, match=r"is more than the 14\.8 GiB of Tesla T4"):
        predict(small({}), load_device("t4"), budget_bytes=100 * GIB)


def test_a_compiled_model_is_not_predicted_wrongly(small: Small) -> None:
    with pytest.raises(PredictionUnsupported, match="compiled") as caught:
        predict(small({"train.compile": True}), load_device("cpu"))
    assert "train.compile=false" in caught.value.hint


def test_tf32_is_refused_for_a_cpu(small: Small) -> None:
    with pytest.raises(SpecError, match="tf32 exists on CUDA only"):
        predict(small({"train.precision": "tf32"}), load_device("cpu"))
