"""Baselines are computed once, and again where only `data.recent_days` has changed."""

import pytest

from scalelab.api import sweep
from scalelab.core.spec import RunSpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping.known_baselines import KnownBaselines

NAMES = "SELECT DISTINCT name FROM baselines ORDER BY name"


@pytest.mark.parametrize(
    ("stored", "known"),
    [
        ([], False),
        (["popularity", "popularity_30_days", "last_item_follower"], True),
        (["popularity", "popularity_7_days", "last_item_follower"], False),
        (["popularity", "popularity_7_days", "popularity_30_days"], True),
        (["popularity", "last_item_follower"], True),  # no clock times
    ],
    ids=str,
)
def test_they_are_known_for_their_days(stored: list[str], known: bool) -> None:
    spec = RunSpec.load("sasrec-synthetic", {})
    found = KnownBaselines(
        ("data", spec.protocol, name, k) for name in stored for k in spec.evaluate.ks
    )
    assert found.has("data", spec) is known
    assert not found.has("elsewhere", spec)
    found.add("data", spec)
    assert found.has("data", spec)
    found.discard("data", spec)
    assert not found.has("data", spec)


def test_they_are_known_for_their_lengths_of_lists() -> None:
    spec = RunSpec.load("sasrec-synthetic", {})
    longer = RunSpec.load("sasrec-synthetic", {"evaluate.k": [50]})
    found = KnownBaselines(("data", spec.protocol, "popularity", k) for k in spec.evaluate.ks)
    assert found.has("data", spec)
    assert not found.has("data", longer)
    found.add("data", longer)
    assert found.has("data", longer)


@pytest.mark.slow
def test_other_days_are_computed_without_another_run(tmp_path, monkeypatch) -> None:
    rows = [f"{user},{item},{1_600_000_000 + 86_400 * (user + 3 * item)}" for user in range(30)
            for item in range(user % 3, 9)]  # fmt: skip
    (tmp_path / "log.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "study.toml"
    study.write_text(
        'base = "sasrec-synthetic"\n[set]\n"data.reader" = "table"\n"data.path" = "log.csv"\n'
        '"train.epochs" = 1\n"device.name" = "cpu"\n"model.hidden_dim" = 8\n"model.num_heads" = 1\n'
    )
    how = {"ledger": tmp_path / "s.duckdb", "executor": "inline"}
    assert sweep(study, **how).counts == {"done": 1}
    ledger = Ledger(tmp_path / "s.duckdb")
    recent = {"last_item_follower", "popularity", "popularity_30_days"}
    assert set(ledger.query(NAMES)["name"].to_pylist()) == recent
    assert sweep(study, **how, set={"data.recent_days": 7}).counts == {"done": 1}
    assert set(ledger.query(NAMES)["name"].to_pylist()) == recent | {"popularity_7_days"}
    # Once they are there, nothing reads the data again.
    with monkeypatch.context() as patched:
        patched.setattr("scalelab.train.baselines.baseline_rows", None)
        assert sweep(study, **how, set={"data.recent_days": 7}).counts == {"done": 1}
    assert ledger.query("SELECT count(*) AS n FROM runs")["n"].to_pylist() == [1]
    # The run with other lengths of lists brings theirs, and the others stay.
    lengths = "SELECT DISTINCT k FROM baselines WHERE name = 'popularity' ORDER BY k"
    assert ledger.query(lengths)["k"].to_pylist() == [1, 5, 10, 20]
    longer = {"data.recent_days": 7, "evaluate.k": [50]}
    assert sweep(study, **how, set=longer).counts == {"done": 1}
    assert ledger.query(lengths)["k"].to_pylist() == [1, 5, 10, 20, 50]
