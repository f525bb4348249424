"""What a loss made of its options "auto" is recorded, by the numbers it really used."""

import json

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.initial_row import new_row
from scalelab.core.spec import RunSpec
from scalelab.losses import LossBatch, options_used, rece
from scalelab.measure.session import run

TINY = {
    "data.num_users": 60,
    "data.num_items": 400,
    "batch.size": 16,
    "batch.max_len": 10,
    "model.hidden_dim": 8,
    "train.max_steps": 2,
    "device.name": "cpu",
}


def resolved(changes):
    record = run(RunSpec.load("sasrec-synthetic", TINY | changes), run_id="r")
    assert record.run.outcome == "done", record.run.error
    return json.loads(record.run.resolved)["loss"]


def test_numbers_take_the_place_of_auto_in_every_loss():
    for loss in ("rece", "sce", "cross_entropy", "bce"):
        more = {"loss.bucket_size_y": 20} if loss == "sce" else {}
        found = resolved({"loss.name": loss, **more})
        assert found.keys() == plugins.options("losses", loss).keys()
        assert "auto" not in found.values()


def test_the_buckets_on_record_are_those_that_were_made(monkeypatch):
    made = []
    rounds = rece.rounds

    def noting(hidden_ND, table_VD, vectors_RBD, *, num_chunks, **rest):
        made.append((hidden_ND.shape[0], vectors_RBD.shape[1], num_chunks))
        return rounds(hidden_ND, table_VD, vectors_RBD, num_chunks=num_chunks, **rest)

    monkeypatch.setattr(rece, "rounds", noting)
    found = resolved({"loss.name": "rece", "loss.rounds": 2})
    largest = max(made)
    assert (found["n_buckets"], found["n_chunks"]) == largest[1:]
    assert found["rounds"] == 2


@pytest.mark.parametrize("num_positions", [1, 10, 1000])
def test_what_sce_says_is_what_it_draws(num_positions):
    loss = plugins.load("losses", "sce")(bucket_size_y=5)
    hidden_ND, table_VD = torch.randn(num_positions, 4), torch.randn(9, 4)
    used = options_used(loss, hidden_ND, table_VD)
    batch = LossBatch(
        targets_N=torch.ones(num_positions, dtype=torch.int64),
        num_items=8,
        given={"random": torch.randn(used["n_buckets"], 4)},
    )
    loss(hidden_ND, table_VD, batch)  # refuses another number of given buckets
    buckets = loss._buckets(hidden_ND, table_VD, batch)
    assert buckets.positions.shape == (used["n_buckets"], used["bucket_size_x"])


def test_a_run_that_never_started_has_what_its_spec_decides():
    spec = RunSpec.load("sasrec-synthetic", TINY | {"loss.name": "rece", "loss.n_chunks": 7})
    row = new_row(spec, run_id="r", study_id=None, attempt=1)
    assert json.loads(row.resolved) == {"loss": {"rounds": 1, "n_chunks": 7, "n_extra_chunks": 1}}
