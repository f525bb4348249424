"""Real runs: the same seed gives the same figures, wherever and beside how many others it runs."""

import pytest

from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping import runner

SMALL = {
    "data.num_users": 300,
    "data.num_items": 500,
    "model.hidden_dim": 8,
    "model.num_blocks": 1,
    "train.epochs": 2,
    "device.threads": 1,
}
FIGURES = """
    SELECT r.fingerprint, 'metric' AS what,
           m.split || m.name || coalesce(m.k, 0) || m.epoch AS name, m.value
    FROM metrics m JOIN runs r USING (run_id)
    WHERE m.name <> 'wall_s'  -- seconds on the clock differ
    UNION ALL
    SELECT r.fingerprint, source || stage, component, bytes FROM memory JOIN runs r USING (run_id)
    WHERE kind = 'requested' ORDER BY ALL
"""


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The ledger of one small study, by executor and workers."""
    folder = tmp_path_factory.mktemp("same")
    study = StudySpec.model_validate(
        {
            "name": "same",
            "base": "sasrec-synthetic",
            "set": SMALL,
            "axes": {"loss.name": ["bce", "cross_entropy"]},
        }
    )

    def swept(executor, workers):
        path = folder / f"{executor}-{workers}.duckdb"
        result = runner.sweep(study, path, executor=executor, workers=workers)
        assert result.counts == {"done": 2}
        return Ledger(path).query(FIGURES).to_pylist()

    return swept


@pytest.mark.slow
def test_metrics_and_requested_bytes_are_identical(studied):
    alone = studied("inline", 1)
    assert {row["what"] for row in alone} >= {"metric", "measuredtrain", "predictedtrain"}
    assert studied("processes", 2) == alone
