"""Recency-weighted negatives in a run: corrected, predicted, resumed, and refused without times."""

import csv

import numpy as np
import pytest
import torch

from scalelab.core.errors import DataError
from scalelab.measure.session import run
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble

DAY = 86_400
SOURCES = [
    {"name": "recent", "num_negatives": 6, "half_life_days": 3.0},
    {"name": "uniform", "num_negatives": 16, "per": "batch"},
]
LOGQ = {"loss.name": "sampled_softmax", "loss.logq": 1.0, "loss.logq_of": "mixture"}


@pytest.fixture
def timed(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (user, int(item), 1_600_000_000 + int(time))
        for user in range(60)
        for item, time in zip(
            rng.integers(1, 81, 10), np.sort(rng.integers(0, 40 * DAY, 10)), strict=True
        )
    ]
    with (tmp_path / "timed.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("user_id", "item_id", "timestamp"), *rows])
    return {
        "data.reader": "table", "data.path": str(tmp_path / "timed.csv"), "negatives": SOURCES,
        "train.epochs": 2,
    }  # fmt: skip


def test_the_loss_gets_the_probabilities_of_the_training_interactions(small, timed):
    trainer = assemble(small(timed | LOGQ))
    recent, uniform = trainer.parts.log_shares
    assert uniform is None
    interactions, train = trainer.data.interactions, trainer.data.split.train
    inside = np.concatenate([np.arange(*span) for span in zip(train.starts, train.ends)])  # noqa: B905
    ages = (interactions.times[inside].max() - interactions.times[inside]) / DAY
    weights = np.bincount(
        interactions.item_ids[inside], 0.5 ** (ages / 3.0), interactions.num_items + 1
    )
    wanted = torch.from_numpy(weights[1:] / weights.sum())
    torch.testing.assert_close(recent[1:].double().exp(), wanted, rtol=1e-4, atol=1e-9)
    without = assemble(small(timed | {"loss.name": "bce"}))
    assert without.parts.log_shares == ()


@pytest.mark.slow
@pytest.mark.parametrize("options", [LOGQ, {"loss.name": "bce"}], ids=["corrected", "plain"])
def test_bytes_are_predicted_and_accounted(small, timed, options):
    record = run(small(timed | options), run_id="r", strict=True)
    assert record.run.outcome == "done"
    assert record.run.account_error == 0.0
    predicted = predict(small(timed | options))
    for stage, found in (("train", predicted.memory), ("eval", predicted.evaluation)):
        measured = {
            m.component: m.bytes for m in record.memory if (m.stage, m.kind) == (stage, "requested")
        }
        assert found["requested"] == measured
    vectors = 2 if options is LOGQ else 0  # popularity and what `recent` draws
    num_items = record.run.num_items
    assert predicted.memory["requested"].get("other", 0) == vectors * 4 * (num_items + 1)


def test_an_interrupted_training_goes_on_with_the_same_draws(small, timed, tmp_path):
    spec = small(timed | LOGQ)
    whole = assemble(spec).fit()
    assemble(spec).fit(stop=lambda: True, keep=tmp_path / "kept")
    assert assemble(spec).fit(keep=tmp_path / "kept").history == whole.history


def test_times_that_are_only_an_order_are_refused(small):
    spec = small({"negatives": SOURCES, "loss.name": "bce"})
    for whole in (assemble, predict):
        with pytest.raises(DataError, match="clock times"):
            whole(spec)
