"""Whatever a run does to itself, it is a row, and the sweep goes on."""

import pytest
from sweeping_helpers import BASE, RecordingObserver, hooks

from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping import runner

GOOD = ["ok", "ok-2", "ok-3"]
# What the configuration does, how that is called, and what its message must say.
BAD = {
    "raise": ("failed", "ValueError: this configuration is no good"),
    "nan": ("diverged", ""),
    "segv": ("failed", "crashed with signal 11 (SIGSEGV)"),
    "kill": ("interrupted", "signal 9"),
    "leave": ("failed", "exit code 3"),
    "forever": ("timeout", "longer than 4 s"),
    "greedy": ("oom", ""),
    "creeping": ("oom", "over the budget of 64 MiB"),
}


def runs(path, where="true"):
    sql = f"SELECT * FROM runs WHERE {where} ORDER BY started_at"
    return Ledger(path).query(sql).to_pylist()


def how(row):
    return row["dataset"]


# All of them read one sweep, which takes its time.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def survived(tmp_path_factory):
    """One sweep over good and bad configurations."""
    folder = tmp_path_factory.mktemp("bad")
    base = folder / "base.toml"
    base.write_text(BASE)
    study = StudySpec(
        name="bad",
        base=str(base),
        axes={"data.path": [GOOD[0], *BAD, *GOOD[1:]]},
        budget={"time": "4s", "memory": "64MiB"},
    )
    observer = RecordingObserver()
    result = runner.sweep(
        study,
        folder / "bad.duckdb",
        executor="processes",
        workers=4,
        observer=observer,
        # As real runs find it: imported before the clock of a run starts.
        hooks=hooks(modules=lambda specs: ["scalelab.measure.session"]),
    )
    return folder / "bad.duckdb", result, observer


def test_good_configurations_finish_beside_bad_ones(survived):
    path, result, _ = survived
    assert {how(row) for row in runs(path, "outcome = 'done'")} == set(GOOD)
    assert result.exit_code == 1
    assert sum(result.counts.values()) == len(GOOD) + len(BAD)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_configuration_leaves_its_outcome_phase_and_message(survived, kind):
    path, _, _ = survived
    (row,) = [row for row in runs(path) if how(row) == kind]
    outcome, message = BAD[kind]
    assert row["outcome"] == outcome, row["error"]
    assert message in (row["error"] or "")
    assert "\n" not in (row["error"] or "")
    if kind != "nan":  # which ends by its own word, as a session would
        assert row["phase"] == "train"


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind not in ("raise", "greedy")])
def test_a_bad_configuration_keeps_the_quality_it_had_reached(survived, kind):
    path, _, _ = survived
    sql = """SELECT epoch, value FROM metrics JOIN runs USING (run_id)
             WHERE dataset = ? AND split = 'valid' AND name = 'ndcg' AND k = 10 ORDER BY epoch"""
    kept = Ledger(path).query(sql, [kind]).to_pylist()
    good = Ledger(path).query(sql, ["ok"]).to_pylist()
    assert kept == good[:2]


@pytest.mark.parametrize("kind", ["segv", "kill", "forever", "creeping"])
def test_a_killed_run_leaves_its_last_known_peak(survived, kind):
    path, _, _ = survived
    sql = """SELECT bytes FROM memory JOIN runs USING (run_id)
             WHERE dataset = ? AND stage = 'process' AND kind = 'host_rss'"""
    (row,) = Ledger(path).query(sql, [kind]).to_pylist()
    assert row["bytes"] > 64 * 2**20


def test_every_run_that_started_has_ended_for_the_observer(survived):
    _, _, observer = survived
    assert sorted(observer.started) == sorted(record.run.run_id for record in observer.ended)
