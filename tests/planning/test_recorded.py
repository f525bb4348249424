"""Predictions for an H200 against what runs took there (tests/gpu/results)."""

import json
from pathlib import Path
from typing import Any

import pytest

from scalelab.core.spec import RunSpec
from scalelab.core.units import MIB
from scalelab.losses.rece import RECE
from scalelab.planning.devices import load_device
from scalelab.planning.predict import predict

RECORD = Path(__file__).parents[1] / "gpu/results/H200-2026-11-26/recomputed.json"
RUNS = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]
# Logits in bfloat16; then at a million items full cross-entropy, whose evaluation finds what
# training has cut up, negatives for the batch, and RECE.
CHOSEN = (3, 4, 7, 16)


def spec_of(run: dict[str, Any]) -> RunSpec:
    facts = run["spec"]
    changes: dict[str, Any] = {
        "device.name": "cuda",
        "data.num_users": 2000,
        "data.max_eval_users": 200,
        "train.max_steps": 3,
        "data.num_items": facts["num_items"],
        "loss.name": facts["loss"],
        "train.precision": facts["precision"],
    }
    if facts["negatives"]:
        ((number, per),) = facts["negatives"]
        changes |= {"negatives.num_negatives": number, "negatives.per": per}
    return RunSpec.load("sasrec-synthetic", changes)


@pytest.mark.parametrize("number", CHOSEN)
@pytest.mark.slow
def test_what_an_h200_took_is_predicted(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RUNS[number]
    largest = predict(spec_of(run), load_device("h200"))
    # The record is of the step with most positions. RECE may need more in another one.
    monkeypatch.delattr(RECE, "loss_bytes")
    found = predict(spec_of(run), load_device("h200"))
    assert largest.peak_bytes >= found.peak_bytes
    # What has changed since the record: a batch no longer says of each position whether it is the
    # last of its sequence (a bool each), and the ranks of all evaluated users have their place from
    # the start (two int64 each). A large catalog has its peak where ties are counted, for 134 users
    # at once; the byte of each of their 20 places is no longer there then.
    assert found.largest_step is not None
    since = {"train": -found.largest_step.shape.num_positions, "eval": 16 * 200}
    if run["spec"]["num_items"] == 1_000_000:
        since["eval"] -= 134 * 20
    for stage, kinds in (("train", found.memory), ("eval", found.evaluation)):
        names = ("requested", "allocated", "reserved")
        measured = {name: run["bytes"][f"{stage} {name}"]["measured"] for name in names}
        requested = measured["requested"] + since[stage]
        assert kinds["requested"]["total"] == pytest.approx(requested, abs=16)
        assert kinds["allocated"]["total"] == pytest.approx(measured["allocated"], rel=0.01)
        near = max(0.05 * measured["reserved"], 20 * MIB)
        assert kinds["reserved"]["total"] == pytest.approx(measured["reserved"], abs=near)
