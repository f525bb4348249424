"""What is appended comes back, once, whole, and nothing else can be written."""

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalelab.core.errors import LedgerError
from scalelab.core.records import Metric, Outcome, Record
from scalelab.store import ledger as ledger_module
from scalelab.store.ledger import Ledger

CHILDREN = ("metrics", "memory", "timeline", "samples")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


def stored(ledger, table, run_id):
    rows = ledger.query(f"SELECT * FROM {table} WHERE run_id = ?", [run_id]).to_pylist()
    for row in rows:
        del row["run_id"]
    return rows


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    error=st.none() | TEXT,
    outcome=st.sampled_from(list(Outcome)),
    started=st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)),
    seconds=st.none() | st.floats(allow_nan=False),
    values=st.lists(st.tuples(TEXT, st.floats(allow_nan=False)), max_size=20),
)
def test_a_record_comes_back_as_it_was(fake, ledger, error, outcome, started, seconds, values):
    made = fake.record(num_events=20)
    run = replace(made.run, error=error, outcome=outcome, started_at=started, wall_s=seconds)
    extra = [Metric(split="test", epoch=1, name=n, k=None, value=v) for n, v in values]
    made = replace(made, run=run, metrics=(*made.metrics, *extra))
    ledger.append([made])
    with ledger.reading():
        row = ledger.query("SELECT * FROM runs").to_pylist()[0]
        assert {name: row[name] for name in vars(run)} == vars(run)
        for table in CHILDREN:
            wanted = [vars(fact) for fact in getattr(made, table)]
            assert stored(ledger, table, run.run_id) == wanted
        assert stored(ledger, "environments", run.run_id) == [vars(made.environment)]


def test_a_run_stored_again_replaces_itself_and_its_children(fake, ledger):
    first = fake.record(index=1, num_events=50)
    other = fake.record(index=2, num_events=50)
    ledger.append([first, other])
    running = replace(first.run, outcome=Outcome.RUNNING)
    ledger.append([Record(run=running)])
    assert ledger.query("SELECT count(*) AS n FROM runs")["n"].to_pylist() == [2]
    for table in (*CHILDREN, "environments"):
        assert stored(ledger, table, first.run.run_id) == []
        assert stored(ledger, table, other.run.run_id)
    ledger.append([first])
    ledger.append([first])
    assert len(stored(ledger, "timeline", first.run.run_id)) == len(first.timeline)
    assert ledger.query("SELECT count(*) AS n FROM runs")["n"].to_pylist() == [2]


def test_a_batch_is_stored_whole_or_not_at_all(fake, ledger):
    bad = fake.record(index=2)
    bad = replace(bad, run=replace(bad.run, dataset=None))
    with pytest.raises(LedgerError, match="dataset"):
        ledger.append([fake.record(index=1), bad])
    assert ledger.query("FROM runs").num_rows == 0
    wrong = fake.record(index=3)
    with pytest.raises(LedgerError, match="cannot be stored"):
        ledger.append([replace(wrong, run=replace(wrong.run, batch_size="many"))])


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "INSERT INTO studies VALUES ('a', 'b', 'c', now()::TIMESTAMP)",
        "DROP VIEW results",
        "CREATE TABLE more (i INT)",
        "COPY runs TO '{out}'",
        "ATTACH '{out}' AS other",
        "EXPORT DATABASE '{out}'",
        "SELECT * FROM read_csv('{here}')",
        "SELECT * FROM read_text('{here}')",
        "SELECT * FROM '{here}'",
        "SELECT * FROM glob('*')",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT * FROM ledger",
        "SELECT 1; DELETE FROM runs",
    ],
)
def test_a_query_reads_the_ledger_and_nothing_else(fake, ledger, tmp_path, sql):
    ledger.append([fake.record()])
    here = tmp_path / "here.csv"
    here.write_text("a\n1\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LedgerError) as caught:
        ledger.query(sql.format(out=tmp_path / "out", here=here))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert sorted(tmp_path.rglob("*")) == before
    assert ledger.query("FROM runs").num_rows == 1


def test_an_empty_answer_keeps_its_columns(ledger):
    rows = ledger.query("SELECT run_id, seed FROM runs WHERE seed = $seed", {"seed": 3})
    assert rows.column_names == ["run_id", "seed"]
    assert rows.num_rows == 0


def test_sums_of_integers_are_plain_numbers(ledger):
    rows = ledger.query("SELECT sum(i) AS a, sum(i * 1e18::HUGEINT) AS b FROM range(100) AS t(i)")
    assert rows.to_pylist() == [{"a": 4950, "b": 4950e18}]


def test_a_done_attempt_counts_before_all_others(fake, ledger):
    made = [
        fake.record(index=0, attempt=1, outcome=Outcome.FAILED),
        fake.record(index=1, attempt=2, outcome=Outcome.DONE),
        fake.record(index=2, attempt=3, outcome=Outcome.INTERRUPTED),
        fake.record(index=3, seed=1, attempt=1, outcome=Outcome.INTERRUPTED),
        fake.record(index=4, seed=2, attempt=1, outcome=Outcome.OOM),
        fake.record(index=5, seed=2, attempt=2, outcome=Outcome.FAILED),
    ]
    ledger.append(made)
    done, interrupted, failed = (made[i].run.fingerprint for i in (1, 3, 5))
    attempts = ledger.attempts()
    assert attempts[done].run_id == "run-000001"
    assert (attempts[done].attempt, attempts[done].last_attempt) == (2, 3)
    assert attempts[interrupted].outcome is Outcome.INTERRUPTED
    assert ledger.finished() == {done: Outcome.DONE, failed: Outcome.FAILED}


def test_runs_that_a_dead_driver_left_are_interrupted(fake, ledger):
    running = fake.record(index=1, outcome=Outcome.RUNNING)
    ledger.append([running, fake.record(index=2)])
    with ledger.writing() as writer:
        assert writer.left_running == ("run-000001",)
    rows = ledger.query("SELECT run_id, outcome FROM runs ORDER BY run_id").to_pylist()
    assert [row["outcome"] for row in rows] == ["interrupted", "done"]
    with ledger.writing() as writer:
        assert writer.left_running == ()


def test_a_study_is_kept_once(ledger):
    now = datetime(2026, 1, 2, 3, 4, 5, 678901)
    ledger.add_study("s", "old", "a = 1", now)
    ledger.add_study("s", "new", "a = 2", now)
    wanted = {"study_id": "s", "name": "new", "spec_toml": "a = 2", "created_at": now}
    assert ledger.query("FROM studies").to_pylist() == [wanted]


def test_queries_inside_reading_share_one_connection(fake, ledger, tmp_path, monkeypatch):
    other = Ledger.create_or_open(tmp_path / "other.duckdb")
    ledger.append([fake.record(index=0)])
    visits = []
    opened = ledger_module.opened

    def counted(path, **options):
        visits.append(path.name)
        return opened(path, **options)

    monkeypatch.setattr(ledger_module, "opened", counted)
    count = "SELECT count(*) AS n FROM runs"
    with ledger.reading(), ledger.reading():
        found = [each.query(count)["n"][0].as_py() for each in (ledger, other, ledger)]
    assert found == [1, 0, 1]
    assert visits == [ledger.path.name, "other.duckdb"]
    # It is closed again, also after an exception: somebody else may write.
    with pytest.raises(LedgerError), ledger.reading():
        ledger.query("SELECT nothing")
    ledger.append([fake.record(index=1)])
    assert ledger.query(count)["n"][0].as_py() == 2
