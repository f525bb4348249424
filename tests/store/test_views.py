"""The views against plain Python over the same rows."""

import json
import random
import statistics
from dataclasses import replace

import pytest

from scalelab.core.records import Memory, Metric, Outcome
from scalelab.store.ledger import Ledger


@pytest.fixture(scope="module")
def study(fake, tmp_path_factory):
    """A ledger of a whole made-up study, and its records."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("views") / "study.duckdb")
    records = fake.study()
    ledger.append(records)
    return ledger, records


def point(fake, index, quality, peak, seconds):
    """A run with the given validation quality, peak and time, a configuration of its own."""
    made = fake.record(index=index)
    spec = json.loads(made.run.spec) | {"extra": index}
    run = replace(made.run, spec=json.dumps(spec), fingerprint=f"f{index}", train_s=seconds)
    metric = Metric(split="valid", epoch=run.best_epoch, name="ndcg", k=10, value=quality)
    total = {"stage": "train", "kind": "requested", "component": "total", "source": "measured"}
    memory = Memory(bytes=peak, reason=None, **total)
    return replace(made, run=run, metrics=(metric,), memory=(memory,))


def unbeaten(points, cost):
    """Indices of the points that no other beats: at least as good and cheap, and better in one."""
    return {
        i
        for i, one in enumerate(points)
        if not any(
            other[0] >= one[0]
            and other[cost] <= one[cost]
            and (other[0] > one[0] or other[cost] < one[cost])
            for other in points
        )
    }


def test_the_fronts_are_what_nothing_beats(fake, ledger):
    """Forty small sets of points with many ties, each its own data set, against brute force."""
    rng = random.Random(7)
    sets = {
        f"data-{n}": [
            (rng.randint(1, 6) / 10, rng.randint(1, 6), rng.randint(1, 6) / 2)
            for _ in range(rng.randint(1, 25))
        ]
        for n in range(40)
    }
    made = []
    for name, points in sets.items():
        for place, drawn in enumerate(points):
            one = point(fake, len(made), *drawn)
            spec = json.dumps(json.loads(one.run.spec) | {"place": place})
            made.append(replace(one, run=replace(one.run, data_fingerprint=name, spec=spec)))
    ledger.append(made)
    for view, cost in (("pareto_memory", 1), ("pareto_time", 2)):
        rows = ledger.query(
            f"SELECT data_fingerprint, (spec->>'$.place')::INT AS place FROM {view}"
        ).to_pylist()
        for name, points in sets.items():
            found = [row["place"] for row in rows if row["data_fingerprint"] == name]
            assert sorted(found) == sorted(unbeaten(points, cost))
    for budget in (0, 3, 6):
        rows = ledger.query(f"FROM best_under_budget({budget})").to_pylist()
        best = {row["data_fingerprint"]: row["valid_ndcg_10"] for row in rows}
        fitting = {n: [p[0] for p in points if p[1] <= budget] for n, points in sets.items()}
        assert best == {n: max(qualities) for n, qualities in fitting.items() if qualities}


def test_fronts_never_cross_data_protocol_or_device(fake, ledger):
    good, bad = point(fake, 0, 0.9, 1, 1.0), point(fake, 1, 0.1, 9, 9.0)
    ledger.append([good, bad])
    count = "SELECT count(*) AS n FROM pareto_memory"
    assert ledger.query(count)["n"].to_pylist() == [1]
    for change in ({"data_fingerprint": "other"}, {"protocol": "other"}):
        ledger.append([replace(bad, run=replace(bad.run, **change))])
        assert ledger.query(count)["n"].to_pylist() == [2]
    ledger.append([replace(bad, environment=replace(bad.environment, device="other"))])
    assert ledger.query(count)["n"].to_pylist() == [2]


def test_results_are_the_finished_runs(study):
    ledger, records = study
    rows = ledger.query("SELECT * FROM results").to_pylist()
    done = {r.run.run_id: r for r in records if r.run.outcome is Outcome.DONE}
    assert {row["run_id"] for row in rows} == done.keys()
    for row in rows:
        made = done[row["run_id"]]
        for split in ("valid", "test"):
            wanted = [
                m.value
                for m in made.metrics
                if (m.split, m.name, m.k, m.epoch) == (split, "ndcg", 10, made.run.best_epoch)
            ]
            assert [row[f"{split}_ndcg_10"]] == wanted
        for column, source in (("peak_bytes", "measured"), ("predicted_peak_bytes", "predicted")):
            key = ("train", "requested", "total", source)
            wanted = [
                m.bytes for m in made.memory if (m.stage, m.kind, m.component, m.source) == key
            ]
            assert [row[column]] == wanted


def test_a_gpu_peak_is_what_was_allocated_or_nothing(fake, ledger):
    made = fake.record(cuda=True)
    unread = replace(made, run=replace(made.run, run_id="b"))
    unread = replace(unread, memory=tuple(m for m in made.memory if m.kind != "allocated"))
    ledger.append([made, unread])
    rows = ledger.query("SELECT * FROM results ORDER BY run_id").to_pylist()
    wanted = [m.bytes for m in made.memory if (m.kind, m.source) == ("allocated", "measured")]
    assert [row["peak_bytes"] for row in rows] == [None, *wanted]
    assert {row["peak_kind"] for row in rows} == {"allocated"}


def test_configurations_are_means_over_seeds(study):
    ledger, _ = study
    rows = ledger.query("SELECT * FROM configurations WHERE num_seeds > 1").to_pylist()
    assert len(rows) == 6
    results = ledger.query("SELECT * FROM results").to_pylist()
    for row in rows:
        own = [r for r in results if r["configuration"] == row["configuration"]]
        assert len({r["seed"] for r in own}) == row["num_seeds"] == len(own) == 3
        for name in ("valid_ndcg_10", "test_ndcg_10", "train_s"):
            values = [r[name] for r in own]
            assert row[name] == pytest.approx(statistics.fmean(values))
            assert row[f"{name}_std"] == pytest.approx(statistics.stdev(values))
        assert row["peak_bytes"] == round(statistics.fmean(r["peak_bytes"] for r in own))
        assert row["peak_bytes_max"] == max(r["peak_bytes"] for r in own)
    total = ledger.query("SELECT sum(num_seeds) AS n FROM configurations")["n"].to_pylist()
    assert total == [len({r["fingerprint"] for r in results})]


def test_a_seed_run_again_counts_once_by_its_last_attempt(fake, ledger):
    first = point(fake, 0, 0.1, 10, 1.0)
    again = point(fake, 0, 0.3, 30, 3.0)
    again = replace(again, run=replace(again.run, run_id="again", attempt=2))
    ledger.append([first, again])
    row = ledger.query("FROM configurations").to_pylist()[0]
    assert (row["num_seeds"], row["valid_ndcg_10"], row["peak_bytes"]) == (1, 0.3, 30)


def test_components_add_up_to_their_total(study):
    ledger, _ = study
    rows = ledger.query("FROM components WHERE kind = 'requested' AND stage = 'train'").to_pylist()
    assert rows
    names = rows[0].keys() - {"run_id", "stage", "kind", "source", "total"}
    for row in rows:
        assert sum(row[name] or 0 for name in names) == row["total"]


def test_a_component_without_a_column_is_not_lost(fake, ledger):
    made = fake.record()
    new = Memory(
        stage="train", kind="requested", component="new", bytes=7, reason=None, source="measured"
    )
    ledger.append([replace(made, memory=(*made.memory, new))])
    found = ledger.query("SELECT max(further) AS n FROM components")["n"].to_pylist()
    assert found == [7]


def test_the_error_of_a_prediction_is_relative_to_the_measurement(study):
    ledger, records = study
    rows = ledger.query("FROM prediction_error").to_pylist()
    by_run = {r.run.run_id: r for r in records}
    assert {row["run_id"] for row in rows} < by_run.keys()
    for row in rows:
        key = (row["stage"], row["kind"])
        found = {
            (m.component, m.source): m.bytes
            for m in by_run[row["run_id"]].memory
            if (m.stage, m.kind) == key
        }
        measured = found[row["component"], "measured"]
        gap = found[row["component"], "predicted"] - measured
        assert row["error"] == pytest.approx(gap / measured)
        assert row["error_of_peak"] == pytest.approx(gap / found["total", "measured"])


def test_a_run_that_never_evaluated_is_in_results_and_on_no_front(fake, ledger):
    made = fake.record()
    ledger.append([replace(made, metrics=(), run=replace(made.run, best_epoch=None))])
    assert ledger.query("SELECT valid_ndcg_10 FROM results").to_pylist() == [
        {"valid_ndcg_10": None}
    ]
    assert ledger.query("FROM pareto_memory").num_rows == 0
    assert ledger.query("FROM best_under_budget(1e15)").num_rows == 0
