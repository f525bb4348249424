"""What a sweep promises about its cells, its ledger and typing the command again."""

import pytest

from scalelab.store.ledger import Ledger


def rows(path, sql):
    return Ledger(path).query(sql).to_pylist()


def test_every_cell_is_run_once_and_stored(study, sweep, tmp_path, heard):
    result = sweep(study(axes={"batch.size": [8, 16, 32]}, repeats=2), observer=heard)
    assert result.counts == {"done": 6}
    stored = rows(
        tmp_path / "fake.duckdb", "SELECT fingerprint, outcome, batch_size, seed FROM runs"
    )
    assert sorted((row["batch_size"], row["seed"]) for row in stored) == [
        (size, seed) for size in (8, 16, 32) for seed in (0, 1)
    ]
    assert {row["outcome"] for row in stored} == {"done"}
    assert len(heard.ended) == len(heard.started) == 6
    assert heard.num_ends == 1


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_typing_it_again_runs_nothing(study, sweep, heard, executor):
    asked = study(axes={"batch.size": [8, 16]})
    sweep(asked, executor=executor)
    again = sweep(asked, executor=executor, observer=heard)
    assert again.counts == {"done": 2}
    assert heard.started == []
    assert all(cell.finished_before for cell in heard.plans[0])
