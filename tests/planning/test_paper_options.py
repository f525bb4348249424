"""What the papers' systems add is predicted and accounted as exactly as the rest."""

import pytest

from scalelab.core.spec import RunSpec, with_overrides
from scalelab.measure.session import run
from scalelab.planning.predict import predict

BASE = {
    "data": {"reader": "synthetic", "num_users": 200, "num_items": 300, "max_length": 40},
    "batch": {"packer": "first_fit", "size": 32, "max_len": 12},
    "model": {"name": "sasrec", "hidden_dim": 16, "num_blocks": 1, "dropout": 0.1},
    "loss": {"name": "cross_entropy"},
    "train": {"epochs": 1, "learning_rate": 0.01, "max_steps": 2},
    "device": {"name": "cpu"},
    "negatives": [
        {"name": "uniform", "num_negatives": 64, "per": "batch"},
        {"name": "in_batch", "num_negatives": 8, "per": "sequence"},
    ],
}
SOFTMAX = {"loss.name": "sampled_softmax", "loss.logq": 1.0, "loss.logq_of": "mixture"}
OPTIONS = {
    "bert4rec": {"model.name": "bert4rec", "model.mask_last_prob": 0.5, "model.hidden_dim": 16},
    **{
        f"{positions}, {block}": {"model.positions": positions, "model.block": block}
        for positions in ("relative", "rotary", "none")
        for block in ("sasrec", "ligr")
    },
    "steps ahead": {"evaluate.steps_ahead": 3, "data.test_items": 3},
    "user embedding": {"model.user_embedding": True},
    "prefixes": {"batch.packer": "prefixes"},
    "mixture": SOFTMAX,
    "target left alone": {**SOFTMAX, "loss.logq_target": False},
    "cosine": {"loss.name": "sampled_softmax", "loss.cosine": True, "loss.temperature": 0.1},
    **{
        f"{name}, top 16": {"loss.name": name, "loss.top_k": 16}
        for name in ("bce", "gbce", "bpr", "bpr_max", "top1", "top1_max")
    },
}


# One of each kind; the others where there is time.
FAST = ("bert4rec", "relative, ligr", "steps ahead", "prefixes", "mixture", "bce, top 16")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=() if name in FAST else pytest.mark.slow)
        for name, options in OPTIONS.items()
    ],
)
def test_predicted_and_accounted_within_a_thousandth(options):
    spec = RunSpec.build(with_overrides(BASE, options))
    record = run(spec, run_id="r", strict=True)
    assert record.run.outcome == "done"
    assert abs(record.run.account_error or 0.0) <= 0.001
    predicted = predict(spec)
    for stage, found in (("train", predicted.memory), ("eval", predicted.evaluation)):
        measured = next(
            m.bytes
            for m in record.memory
            if (m.stage, m.kind, m.component) == (stage, "requested", "total")
        )
        assert found["requested"]["total"] == pytest.approx(measured, rel=1e-3), stage
