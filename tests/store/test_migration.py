"""A ledger that an older scalelab made becomes one of today, with all that was in it."""

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from scalelab.core.errors import LedgerError
from scalelab.core.identity import configuration_of
from scalelab.core.records import Baseline, Metric, Outcome, UserRanks
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.store.lock import driver_lock
from scalelab.studies.grid import expand

VIEWS = ("results", "configurations", "pareto_memory", "pareto_time", "components")
NEW_COLUMNS = (
    "origin",
    "stopped",
    "account_error",
    "tied_targets",
    "repeated_targets",
    "results_version",
)


@pytest.fixture
def old(tmp_path):
    """The path of a ledger of schema version 1: five runs of which four are done."""
    path = tmp_path / "old.duckdb"
    text = Path(__file__).with_name("ledger_v1.sql").read_text(encoding="utf-8")
    with duckdb.connect(str(path)) as connection:
        connection.execute(text)
    return path


def columns_of(ledger, name):
    return {row["column_name"] for row in ledger.query(f"DESCRIBE {name}").to_pylist()}


def test_every_row_is_kept_and_the_old_file_too(old):
    with duckdb.connect(str(old), read_only=True) as connection:
        tables = ("studies", "runs", "metrics", "memory", "samples", "environments")
        counts = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone() for t in tables}
    before = old.read_bytes()
    ledger = Ledger(old)
    for table, (count,) in counts.items():
        assert ledger.query(f"SELECT count(*) AS n FROM {table}")["n"].to_pylist() == [count]
    assert old.with_name("old.duckdb.bak-v1").read_bytes() == before


def test_a_ledger_that_a_sweep_writes_stays_as_it_is(old):
    before = old.read_bytes()
    with driver_lock(old), pytest.raises(LedgerError) as caught:
        Ledger(old).query("FROM runs")
    assert "a sweep of an older scalelab writes" in caught.value.message
    assert old.read_bytes() == before
    assert not old.with_name("old.duckdb.bak-v1").exists()
    assert Ledger(old).query("FROM runs").num_rows == 5


def test_old_rows_are_marked_as_of_older_rules(old):
    rows = Ledger(old).query(f"SELECT {', '.join(NEW_COLUMNS)} FROM runs").to_pylist()
    assert len(rows) == 5
    assert all(row[name] is None for row in rows for name in NEW_COLUMNS)


def test_stored_specs_have_the_keys_of_today(old):
    """So that a stored spec can be run, and charts find old and new rows under one name."""
    rows = Ledger(old).query("SELECT spec, configuration, threads FROM runs ORDER BY run_id")
    specs = [json.loads(text) for text in rows["spec"].to_pylist()]
    assert [spec["loss"].get("reduction") for spec in specs] == ["sum", "sum", None, None, None]
    assert specs[3]["loss"]["remove_accidental_hits"] is False
    assert [spec["loss"]["train_on"] for spec in specs] == ["all", "all", "all", "last", "all"]
    for spec in specs:
        assert RunSpec.build(spec).as_sections()["loss"] == spec["loss"]
    configurations = rows["configuration"].to_pylist()
    assert configurations[0] == configurations[1]
    assert len(set(configurations)) == 4
    assert configurations[2] == configuration_of(specs[2], "synthetic-data", None)
    assert rows["threads"].to_pylist() == [2] * 5


def test_a_stored_study_can_be_swept_again(old, tmp_path):
    """Its keys are those of today wherever a study may name one."""
    text = Ledger(old).query("SELECT spec_toml FROM studies")["spec_toml"].to_pylist()[0]
    for word in ("form", "mask_hits", "positions"):
        assert word not in text
    (tmp_path / "study.toml").write_text(text)
    study = StudySpec.load(tmp_path / "study.toml")
    assert study.set == {"loss": {"reduction": "mean", "name": "bce"}}
    assert study.final is not None
    assert study.final.per == "loss.train_on"
    cells = expand(study)
    assert {cell.spec.loss.options.get("reduction") for cell in cells} == {"sum", None}
    assert {cell.spec.loss.train_on for cell in cells} == {"all", "last"}


def test_options_that_were_really_used_are_read_from_the_old_spec(old):
    """The columns that people know stay where they were; what "auto" came to is not known."""
    query = "SELECT rounds, n_buckets, n_chunks, n_extra_chunks FROM results WHERE loss = 'rece'"
    found = {"rounds": 2, "n_buckets": None, "n_chunks": 4, "n_extra_chunks": 1}
    assert Ledger(old).query(query).to_pylist() == [found]


def test_a_sweep_does_not_take_old_runs_for_its_own(old):
    """Fingerprints hold the results version; nothing of today can have an old one."""
    ledger = Ledger(old)
    before = set(ledger.attempts())
    specs = ledger.query("SELECT spec FROM runs")["spec"].to_pylist()
    now = {RunSpec.build(json.loads(spec)).fingerprint("synthetic-data") for spec in specs}
    assert len(before) == len(now) == 5
    assert not before & now


@pytest.mark.slow
def test_a_migrated_ledger_has_what_a_new_one_has(old, ledger):
    migrated = Ledger(old)
    names = ledger.query("SELECT table_name AS n FROM duckdb_tables()")["n"].to_pylist()
    assert {"baselines", "user_ranks"} < set(names)
    for name in (*names, *VIEWS, "prediction_error"):
        assert columns_of(migrated, name) == columns_of(ledger, name), name


@pytest.mark.slow
def test_the_views_still_answer(old):
    ledger = Ledger(old)
    assert ledger.query("FROM results").num_rows == 4
    assert sorted(ledger.query("FROM configurations")["num_seeds"].to_pylist()) == [1, 1, 2]
    for name in (*VIEWS, "prediction_error", "best_under_budget(99999999999)"):
        assert ledger.query(f"FROM {name}").num_rows > 0, name


def test_old_and_new_runs_of_one_spec_are_never_averaged(fake, old):
    ledger = Ledger(old)
    new = fake.record(index=50)
    older = replace(new.run, run_id="x", fingerprint="x", results_version=None)
    ledger.append([new, replace(new, run=older)])
    own = ledger.query("FROM configurations WHERE data_fingerprint = 'synthetic-100000'")
    assert set(own["results_version"].to_pylist()) == {new.run.results_version, None}
    # Nor does a row of the one kind take the other kind's place on a Pareto front.
    front = "FROM pareto_memory WHERE data_fingerprint = 'synthetic-100000'"
    assert ledger.query(front).num_rows == 2


def test_a_ledger_of_version_2_gets_the_quality_by_the_metric_of_each_run(fake, ledger):
    """By the rule by which today's runs get it: at the epoch whose weights were kept."""
    usual, other = fake.record(index=1), fake.record(index=2, loss="rece")
    spec = json.loads(other.run.spec) | {"evaluate": {"metric": "hr@20"}}
    run = replace(other.run, spec=json.dumps(spec), fingerprint="other", best_epoch=3)
    oom = fake.record(index=3, outcome=Outcome.OOM, loss="gbce")
    ledger.append([usual, replace(other, run=run), oom])
    names = "quality_metric, valid_quality, test_quality, oracle_quality"
    wanted = f"SELECT run_id, {names} FROM runs ORDER BY run_id"
    before = ledger.query(wanted).to_pylist()
    values = {(m.split, m.epoch): m.value for m in other.metrics if (m.name, m.k) == ("hr", 20)}
    assert before[1]["valid_quality"] == values["valid", 3]
    assert [row["quality_metric"] for row in before] == ["ndcg@10", "hr@20", "ndcg@10"]
    as_version_2(ledger.path)
    assert ledger.query(wanted).to_pylist() == before
    assert ledger.path.with_name(f"{ledger.path.name}.bak-v2").is_file()
    assert ledger.query("SELECT loss FROM pareto_memory").num_rows == 2
    assert ledger.query("FROM reused_runs").num_rows == 0


def as_version_2(path):
    """What was new in version 3 is taken out."""
    with duckdb.connect(str(path)) as connection:
        for name in ("prediction_error", *reversed(VIEWS)):
            connection.execute(f"DROP VIEW {name}")
        connection.execute("DROP TABLE reused_runs")
        as_version_3(connection)
        for name in ("quality_metric", "valid_quality", "test_quality", "oracle_quality"):
            connection.execute(f"ALTER TABLE runs DROP COLUMN {name}")
        connection.execute("UPDATE meta SET schema_version = 2")


def as_version_3(connection):
    """What was new in version 4 is taken out."""
    for name in ("num_targets", "one_list"):
        connection.execute(f"ALTER TABLE user_ranks DROP COLUMN {name}")
    connection.execute("UPDATE meta SET schema_version = 3")


def test_ranks_of_version_3_are_of_one_target_each(fake, ledger):
    made = fake.record()
    ledger.append([replace(made, user_ranks=UserRanks(ranks=(3, 0, 1)))])
    before = columns_of(ledger, "user_ranks")
    with duckdb.connect(str(ledger.path)) as connection:
        as_version_3(connection)
    found = ledger.query("SELECT ranks, num_targets, one_list FROM user_ranks").to_pylist()
    assert found == [{"ranks": [3, 0, 1], "num_targets": None, "one_list": False}]
    assert columns_of(ledger, "user_ranks") == before
    several = UserRanks(ranks=(3, 0, 1), num_targets=(1, 2), one_list=True)
    ledger.append([replace(fake.record(index=2), user_ranks=several)])
    wanted = "SELECT num_targets, one_list FROM user_ranks WHERE one_list"
    assert ledger.query(wanted).to_pylist() == [{"num_targets": [1, 2], "one_list": True}]


def test_what_is_new_in_a_record_comes_back(fake, ledger):
    made = fake.record()
    train = Metric(split="train", epoch=1, name="wall_s", k=None, value=2.5)
    ranks = UserRanks(ranks=(3, 0, 1))
    run = replace(made.run, resolved='{"loss": {"n_buckets": 64}}', origin="{}", account_error=0.0)
    ledger.append([replace(made, run=run, metrics=(train,), user_ranks=ranks)])
    assert ledger.query("SELECT ranks FROM user_ranks")["ranks"].to_pylist() == [[3, 0, 1]]
    found = ledger.query("SELECT n_buckets AS n, account_error AS e FROM results")
    assert found.to_pylist() == [{"n": 64, "e": 0.0}]
    ledger.append([replace(made, user_ranks=None)])
    assert ledger.query("FROM user_ranks").num_rows == 0


def test_baselines_replace_those_of_the_same_name_and_length(ledger):
    first = Baseline(
        data_fingerprint="d",
        protocol="p",
        name="popularity",
        split="test",
        metric="ndcg",
        k=10,
        value=0.1,
        seconds=1.0,
    )
    ledger.add_baselines([first, replace(first, k=20), replace(first, name="recent")])
    ledger.add_baselines([replace(first, value=0.2)])
    rows = ledger.query("SELECT name, k, value FROM baselines ORDER BY name, k").to_pylist()
    assert rows == [
        {"name": "popularity", "k": 10, "value": 0.2},
        {"name": "popularity", "k": 20, "value": 0.1},
        {"name": "recent", "k": 10, "value": 0.1},
    ]


@pytest.mark.parametrize("version", [4, 5])
def test_views_of_an_older_version_are_those_of_today_afterwards(fake, ledger, version):
    ledger.append([fake.record()])
    with duckdb.connect(str(ledger.path)) as connection:
        connection.execute("CREATE OR REPLACE VIEW pareto_time AS SELECT 1 AS wrong")
        connection.execute("UPDATE meta SET schema_version = ?", [version])
    assert "wrong" not in columns_of(ledger, "pareto_time")
    assert ledger.query("FROM pareto_time").num_rows == 1
