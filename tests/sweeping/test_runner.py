"""What a sweep promises about its configurations, its ledger and typing the command again."""

import threading
import time
from dataclasses import replace

import duckdb
import pytest
from sweeping_helpers import RecordingObserver, hooks, no_forecast

from scalelab import api
from scalelab.core.errors import LedgerError, SpecError
from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.records import Memory
from scalelab.store.ledger import Ledger
from scalelab.studies.forecast import Forecast
from scalelab.workers.executors.inline import Inline


def rows(path, sql):
    return Ledger(path).query(sql).to_pylist()


def test_every_configuration_is_run_once_and_stored(study, sweep, tmp_path, observer):
    result = sweep(study(axes={"batch.size": [8, 16, 32]}, repeats=2), observer=observer)
    assert result.counts == {"done": 6}
    stored = rows(
        tmp_path / "fake.duckdb", "SELECT fingerprint, outcome, batch_size, seed FROM runs"
    )
    assert sorted((row["batch_size"], row["seed"]) for row in stored) == [
        (size, seed) for size in (8, 16, 32) for seed in (0, 1)
    ]
    assert {row["outcome"] for row in stored} == {"done"}
    assert len(observer.ended) == len(observer.started) == 6
    assert observer.num_ends == 1


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_typing_it_again_runs_nothing(study, sweep, observer, executor):
    asked = study(axes={"batch.size": [8, 16]})
    sweep(asked, executor=executor)
    again = sweep(asked, executor=executor, observer=observer)
    assert again.counts == {"done": 2}
    assert observer.started == []
    assert all(configuration.finished_before for configuration in observer.plans[0])


def test_runs_of_another_study_belong_to_the_one_that_takes_them(study, sweep, tmp_path):
    """What is typed later counts the same runs as the end of the sweep: batch 16 is the best."""
    sweep(study(axes={"batch.size": [8, 16]}))
    path = tmp_path / "fake.duckdb"
    second = study(axes={"batch.size": [16, 32]}).model_copy(update={"name": "second"})
    for _ in range(2):
        result = sweep(second)
        assert result.counts == {"done": 2}
    assert rows(path, "SELECT study_id FROM reused_runs") == [{"study_id": result.study_id}]
    of_each = "SELECT batch_size AS b, len(study_ids) AS n FROM configurations ORDER BY b"
    assert rows(path, of_each) == [{"b": 8, "n": 1}, {"b": 16, "n": 2}, {"b": 32, "n": 1}]
    found = api.answer(path, study="second").sentences[0].best.settings["batch.size"]
    assert found == 16
    shown = api.table(path, rows=["batch.size"], metrics=["ndcg@10"], study="second")
    assert [line.heads for line in shown.lines if not line.is_baseline] == [("16",), ("32",)]


def outcomes(path):
    return {row["dataset"]: row["outcome"] for row in rows(path, "SELECT * FROM runs")}


def forecasts(seconds=None, too_large=()):
    """Predictions by batch size."""

    def forecast(specs, budget_bytes):
        found = []
        for spec in specs:
            size = spec.batch.size
            memory = Memory(
                stage="train",
                kind="requested",
                component="total",
                bytes=1000 * size,
                reason=None,
                source="predicted",
            )
            found.append(
                Forecast(
                    total_bytes=1000 * size,
                    seconds=None if seconds is None else seconds[size],
                    too_large="it would not fit" if size in too_large else None,
                    memory=(memory,),
                    num_items=77,
                )
            )
        return found, []

    return forecast


def test_a_changed_study_runs_only_what_is_new(study, sweep, observer):
    sweep(study(axes={"batch.size": [8, 16]}))
    sweep(study(axes={"batch.size": [8, 16, 32]}, repeats=2), observer=observer)
    assert len(observer.started) == 4


@pytest.mark.slow
def test_rerun_repeats_just_the_outcomes_it_names(study, sweep):
    fakes = hooks(modules=lambda specs: ["scalelab.measure.session"])
    kinds = ["ok", "raise", "greedy", "nan"]
    asked = study(axes={"data.path": kinds}, budget={"memory": "64MiB"})
    sweep(asked, executor="processes", hooks=fakes)
    for rerun, again in ((None, 0), ("failed", 1), ("oom", 1), ("all", 4)):
        observer = RecordingObserver()
        result = sweep(asked, executor="processes", rerun=rerun, observer=observer, hooks=fakes)
        assert len(observer.started) == again, rerun
        assert result.counts == {"done": 1, "failed": 1, "oom": 1, "diverged": 1}


@pytest.mark.slow
def test_the_first_run_of_each_data_set_and_protocol_brings_the_baselines(study, sweep, tmp_path):
    axes = {"batch.size": [16, 32], "data.exclude_seen": [True, False]}
    sweep(study(axes=axes), executor="processes", workers=2, order="given")
    path = tmp_path / "fake.duckdb"
    found = rows(path, "SELECT protocol, value FROM baselines WHERE k = 10 ORDER BY protocol DESC")
    assert found == [
        {"protocol": "leave-one-out, seen included", "value": 0.16},
        {"protocol": "leave-one-out, seen excluded", "value": 0.16},
    ]
    # What is stored is not computed again, and a new protocol is.
    sweep(study(axes=axes | {"batch.size": [64], "data.max_eval_users": [0, 9]}), order="given")
    found = rows(path, "SELECT value FROM baselines WHERE k = 10 ORDER BY value")
    assert [row["value"] for row in found] == [0.16, 0.16, 0.64, 0.64]


def test_a_run_that_dies_leaves_the_baselines_to_the_next(study, sweep, tmp_path):
    asked = study(axes={"batch.size": [8, 16, 32]})
    lab = hooks(run="sweeping_fakes:small_ones_die")
    result = sweep(asked, hooks=lab, order="given")
    assert result.counts == {"failed": 1, "done": 2}
    assert rows(tmp_path / "fake.duckdb", "SELECT DISTINCT value AS v FROM baselines") == [
        {"v": 0.16}
    ]


def test_an_unknown_rerun_or_order_is_refused(study, sweep):
    with pytest.raises(SpecError, match="--rerun"):
        sweep(study(), rerun="faild")
    with pytest.raises(SpecError, match="invalid --order"):
        sweep(study(), order="cheap")


def test_what_is_predicted_not_to_fit_is_skipped_until_it_does(study, sweep, tmp_path, observer):
    asked = study(axes={"batch.size": [8, 16]})
    tight = hooks(forecast=forecasts(too_large={16}))
    for _ in range(2):
        result = sweep(asked, hooks=tight)
        assert result.counts == {"done": 1, "skipped": 1}
    found = rows(tmp_path / "fake.duckdb", "SELECT * FROM runs WHERE outcome = 'skipped'")
    assert [(row["batch_size"], row["error"]) for row in found] == [(16, "it would not fit")]
    assert found[0]["num_items"] == 77, "charts place the prediction of a skipped run by it"
    result = sweep(asked, hooks=hooks(forecast=forecasts()), observer=observer)
    assert result.counts == {"done": 2}
    assert len(rows(tmp_path / "fake.duckdb", "SELECT * FROM runs")) == 2


def test_every_seed_has_a_prediction_of_its_own(study, sweep, tmp_path):
    def forecast(specs, budget_bytes):
        made = forecasts()(specs, budget_bytes)[0]
        return [
            replace(f, memory=(replace(f.memory[0], bytes=1000 + s.train.seed),))
            for f, s in zip(made, specs, strict=True)
        ], []

    sweep(study(repeats=2), hooks=hooks(forecast=forecast))
    found = rows(
        tmp_path / "fake.duckdb",
        "SELECT seed, bytes FROM memory JOIN runs USING (run_id) WHERE source = 'predicted'",
    )
    assert sorted((row["seed"], row["bytes"]) for row in found) == [(0, 1000), (1, 1001)]


@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("3,2", 3)])
def test_predictions_are_made_for_the_threads_of_a_run(study, sweep, monkeypatch, asked, threads):
    if asked is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    seen = []

    def forecast(specs, budget_bytes):
        seen.extend(spec.device.threads for spec in specs)
        return forecasts()(specs, budget_bytes)

    # More workers than this machine has cores.
    sweep(study(), hooks=hooks(forecast=forecast), workers=512)
    assert set(seen) == {threads}


def test_every_run_stores_its_prediction(study, sweep, tmp_path):
    sweep(study(axes={"batch.size": [8, 16]}), hooks=hooks(forecast=forecasts()))
    found = rows(
        tmp_path / "fake.duckdb",
        "SELECT batch_size, bytes FROM memory JOIN runs USING (run_id) WHERE source = 'predicted'",
    )
    assert sorted((row["batch_size"], row["bytes"]) for row in found) == [(8, 8000), (16, 16000)]


@pytest.mark.parametrize(
    ("order", "sizes"), [("cost", [16, 32, 8]), ("costly", [8, 32, 16]), ("given", [8, 16, 32])]
)
def test_configurations_run_in_the_order_asked_for_and_seeds_interleaved(
    study, sweep, observer, order, sizes
):
    predicted = hooks(forecast=forecasts(seconds={8: 3.0, 16: 1.0, 32: 2.0}))
    asked = study(axes={"batch.size": [8, 16, 32]}, repeats=2)
    sweep(asked, hooks=predicted, order=order, observer=observer)
    ran = [(record.run.seed, record.run.batch_size) for record in observer.ended]
    assert ran == [(seed, size) for seed in (0, 1) for size in sizes]


@pytest.mark.slow
def test_no_run_starts_that_would_end_past_the_time_budget(study, sweep, observer):
    predicted = hooks(forecast=forecasts(seconds={8: 0.01, 16: 0.02, 32: 500.0}))
    asked = study(axes={"batch.size": [8, 16, 32]})
    result = sweep(asked, hooks=predicted, time_budget=60.0, order="costly", observer=observer)
    assert result.counts == {"done": 2, "waiting": 1}
    assert result.exit_code == 0
    assert any("time budget" in text for text in observer.messages)
    assert sweep(asked).counts == {"done": 3}


@pytest.mark.slow
def test_runs_that_do_not_fit_beside_each_other_wait_for_each_other(study, sweep, tmp_path):
    def forecast(specs, budget_bytes):
        room = {"device_bytes": 6 * 2**30, "seconds": 1.0, "total_bytes": 1}
        needed = {8: 2**30, 9: 2**30, 16: 4 * 2**30, 32: 5 * 2**30}
        return [Forecast(needed_bytes=needed[s.batch.size], **room) for s in specs], []

    at_once = {}
    for sizes in ([16, 32], [8, 9]):
        asked = study(axes={"batch.size": sizes}, set={"train.learning_rate": 0.6})
        path = tmp_path / f"{sizes[0]}.duckdb"
        fakes = hooks(forecast=forecast)
        result = sweep(asked, executor="processes", workers=2, hooks=fakes, ledger=path)
        assert result.counts == {"done": 2}
        first, second = rows(path, "SELECT started_at, wall_s FROM runs ORDER BY 1")
        apart_s = (second["started_at"] - first["started_at"]).total_seconds()
        at_once[sizes[0]] = apart_s < first["wall_s"]
    assert at_once == {16: False, 8: True}


def test_a_run_that_starts_in_place_of_a_late_one_needs_room_too(study, sweep, tmp_path):
    seconds = {8: 500.0, 16: 0.1, 32: 0.1}

    def forecast(specs, budget_bytes):
        needed = {8: 2**30, 16: 4 * 2**30, 32: 5 * 2**30}
        return [
            Forecast(
                needed_bytes=needed[s.batch.size],
                device_bytes=6 * 2**30,
                seconds=seconds[s.batch.size],
                total_bytes=1,
            )
            for s in specs
        ], []

    asked = study(axes={"batch.size": [8, 16, 32]}, set={"train.learning_rate": 0.6})
    path = tmp_path / "late.duckdb"
    how = {"executor": "processes", "workers": 2, "order": "given", "time_budget": 60.0}
    result = sweep(asked, hooks=hooks(forecast=forecast), ledger=path, **how)
    assert result.counts == {"done": 2, "waiting": 1}
    first, second = rows(path, "SELECT started_at, wall_s FROM runs ORDER BY 1")
    assert (second["started_at"] - first["started_at"]).total_seconds() >= first["wall_s"]


def test_a_dry_run_plans_and_writes_nothing(study, sweep, tmp_path, observer):
    asked = study(axes={"batch.size": [8, 16]})
    result = sweep(asked, hooks=hooks(forecast=forecasts()), dry_run=True, observer=observer)
    assert [configuration.predicted_bytes for configuration in result.cells] == [8000, 16000]
    assert result.counts == {"waiting": 2}
    assert list(tmp_path.glob("*.duckdb*")) == []
    assert observer.started == []


@pytest.mark.slow
def test_the_best_configuration_by_validation_gets_more_seeds(study, sweep, tmp_path):
    final = {"seeds": 3, "by": "valid_ndcg_10", "per": "loss.name"}
    asked = study(
        axes={"batch.size": [4, 8, 16], "loss.name": ["dense_ce", "cross_entropy"]}, final=final
    )
    result = sweep(asked)
    assert result.counts == {"done": 6 + 2 * 2}
    sql = """SELECT loss, batch_size, count(*) AS seeds, avg(valid_ndcg_10) AS q
             FROM results GROUP BY ALL"""
    found = rows(tmp_path / "fake.duckdb", sql)
    first = rows(tmp_path / "fake.duckdb", "SELECT * FROM results WHERE seed = 0")
    for loss in ("dense_ce", "cross_entropy"):
        best = max((r for r in first if r["loss"] == loss), key=lambda r: r["valid_ndcg_10"])
        seeds = {r["batch_size"]: r["seeds"] for r in found if r["loss"] == loss}
        assert seeds.pop(best["batch_size"]) == 3
        assert set(seeds.values()) == {1}
    assert sweep(asked).counts == {"done": 10}, "and typing it again changes nothing"


@pytest.mark.parametrize("search", [None, {"trials": 2}])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    "final", [{"by": "test_ndcg_10"}, {"by": "valid_x"}, {"per": "loss.x"}, {"per": "los.name"}]
)
def test_a_typo_in_final_is_refused_before_anything_runs(
    study, sweep, tmp_path, observer, final, dry_run, search
):
    asked = study(axes={"batch.size": [8, 16]}, final=final, search=search)
    with pytest.raises(SpecError, match=r"\[final\]"):
        sweep(asked, observer=observer, dry_run=dry_run)
    assert observer.started == observer.plans == []
    assert list(tmp_path.glob("*.duckdb*")) == []


def test_the_median_rule_ends_hopeless_runs_and_says_so(study, sweep, tmp_path):
    # Quality falls with the size here, and the good ones come first.
    sizes = [5, 6, 4, 7, 40, 45]
    asked = study(axes={"batch.size": sizes}, set={"train.epochs": 12}, prune="median")
    sweep(asked)
    found = rows(tmp_path / "fake.duckdb", "SELECT * FROM runs ORDER BY started_at")
    by_outcome = {row["batch_size"]: row["outcome"] for row in found}
    pruned = [row for row in found if row["outcome"] == "pruned"]
    assert pruned, by_outcome
    assert all("median" in row["error"] and 3 <= row["epochs"] < 12 for row in pruned)
    done = rows(tmp_path / "fake.duckdb", "SELECT min(valid_ndcg_10) AS worst FROM results")
    assert done[0]["worst"] is not None


@pytest.mark.slow
def test_queries_never_fail_and_lose_nothing_while_a_sweep_writes(study, sweep, tmp_path):
    path = tmp_path / "fake.duckdb"
    sweep(study())
    errors, counts, over = [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                counts.append(rows(path, "SELECT count(*) AS n FROM runs")[0]["n"])
            except LedgerError as error:
                errors.append(error)
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        sweep(study(axes={"batch.size": list(range(1, 31))}), executor="processes", workers=2)
    finally:
        over.set()
        asking.join()
    assert errors == []
    assert counts == sorted(counts), "no row that was seen disappears"
    assert len(counts) > 5
    assert rows(path, "SELECT count(*) AS n FROM runs WHERE outcome = 'done'") == [{"n": 30}]


def test_the_study_is_stored_as_it_was_asked_for(study, sweep, tmp_path):
    import tomllib

    asked = study(axes={"batch.size": [8]}, cells=[{"loss.name": "dense_ce"}])
    result = sweep(asked, overrides={"train.epochs": 1})
    (row,) = rows(tmp_path / "fake.duckdb", "SELECT * FROM studies")
    tables = tomllib.loads(row["spec_toml"])
    assert row["study_id"] == result.study_id
    assert tables["axes"] == {"batch.size": [8]}
    assert tables["cells"] == [{"loss.name": "dense_ce"}]
    assert tables["overrides"] == {"train.epochs": 1}


@pytest.mark.slow
@pytest.mark.parametrize("version", [None, RESULTS_VERSION - 1])
def test_on_an_old_ledger_it_says_why_runs_run_again(study, sweep, tmp_path, observer, version):
    path = tmp_path / "fake.duckdb"
    sizes = study(axes={"batch.size": [8, 16]})
    sweep(sizes)
    with duckdb.connect(str(path)) as connection:
        # As an older scalelab would have left them: fingerprints hold its version.
        connection.execute(
            "UPDATE runs SET results_version = ?, fingerprint = 'old' || fingerprint", [version]
        )
    for _ in range(2):
        dry = RecordingObserver()
        sweep(sizes, observer=dry, dry_run=True)
        assert sum("run again" in text for text in dry.messages) == 1
    sweep(sizes, observer=observer)
    [note] = [text for text in observer.messages if "run again" in text]
    assert note.startswith("2 finished runs have ")
    assert len(observer.ended) == 2
    # The third time nothing runs, so there is nothing to explain; another study never has any.
    for other in (sizes, study(name="other", axes={"batch.size": [32]})):
        observer.messages.clear()
        sweep(other, observer=observer)
        assert not [text for text in observer.messages if "run again" in text]


def test_a_start_is_announced_after_the_ends_before_it(study, sweep, monkeypatch):
    monkeypatch.setattr("scalelab.sweeping.driver._ANNOUNCE_S", 60.0)

    class Order(RecordingObserver):
        def __init__(self):
            super().__init__()
            self.events = []

        def on_run_start(self, run_id):
            self.events.append("start")

        def on_run_end(self, record):
            self.events.append("end")

    observer = Order()
    sweep(study(axes={"batch.size": [8, 16, 32]}), executor="processes", observer=observer)
    assert observer.events == ["start", "end"] * 3


@pytest.mark.parametrize("due", [True, False])
def test_the_executor_is_opened_while_the_driver_plans(study, sweep, monkeypatch, due):
    """Its processes import meanwhile; with nothing to run it is not opened at all."""
    if not due:
        sweep(study())
    seen = []
    opened = Inline.open
    monkeypatch.setattr(Inline, "open", lambda *a, **k: (seen.append("open"), opened(*a, **k))[1])

    def forecast(specs, budget_bytes):
        seen.append("predicted")
        return no_forecast(specs, budget_bytes)

    result = sweep(study(), hooks=hooks(forecast=forecast))
    assert seen == (["open", "predicted"] if due else [])
    assert set(result.counts) == {"done"}
