"""The views against plain Python over the same rows."""

import json
import random
import statistics
from dataclasses import replace

import pytest

from scalelab.core.dominance import pareto_front
from scalelab.core.errors import LedgerError
from scalelab.core.records import Memory, Metric, Outcome
from scalelab.core.units import BYTES_PER_UNIT, parse_bytes
from scalelab.store.ledger import Ledger


@pytest.fixture(scope="module")
def study(fake, tmp_path_factory):
    """A ledger of a whole made-up study, and its records."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("views") / "study.duckdb")
    records = fake.study()
    ledger.append(records)
    return ledger, records


def point(fake, index, quality, peak, seconds, eval_peak=0):
    """A run with the given validation quality, peaks and time, a configuration of its own."""
    made = fake.record(index=index)
    spec = json.loads(made.run.spec) | {"extra": index}
    run = replace(made.run, spec=json.dumps(spec), fingerprint=f"f{index}", train_s=seconds)
    metric = Metric(split="valid", epoch=run.best_epoch, name="ndcg", k=10, value=quality)
    total = {"kind": "requested", "component": "total", "source": "measured", "reason": None}
    memory = (
        Memory(stage="train", bytes=peak, **total),
        Memory(stage="eval", bytes=eval_peak, **total),
    )
    return replace(made, run=run, metrics=(metric,), memory=memory)


def test_the_fronts_are_what_nothing_beats(fake, ledger):
    """Forty small sets of points with many ties, each its own data set, by the rule in core."""
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
            assert sorted(found) == pareto_front([(p[0], p[cost]) for p in points])
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


def points(ledger, view):
    rows = ledger.query(f"SELECT (spec->>'$.extra')::INT AS place FROM {view}")
    return sorted(rows["place"].to_pylist())


def test_a_budget_holds_for_evaluation_too(fake, ledger):
    """As `scalelab answer --budget` has it; evaluation of an unknown size fits no budget."""
    ledger.append(
        [
            point(fake, 0, 0.9, 5, 1.0, eval_peak=9),
            point(fake, 1, 0.5, 6, 1.0, eval_peak=7),
            point(fake, 2, 0.7, 5, 1.0, eval_peak=None),
        ]
    )
    best = {b: points(ledger, f"best_under_budget({b})") for b in (6, 7, 8, 9)}
    assert best == {6: [], 7: [1], 8: [1], 9: [0]}
    rows = ledger.query("SELECT eval_peak_bytes_max FROM configurations ORDER BY valid_ndcg_10")
    assert rows["eval_peak_bytes_max"].to_pylist() == [7, None, 9]


def test_a_cost_that_could_not_be_read_is_on_no_front(fake, ledger):
    """Neither with the best quality of all nor alone; what is known stays where it is."""
    known = point(fake, 0, 0.5, 5, 5.0)
    unread = point(fake, 1, 0.9, None, None)
    ledger.append([known, unread])
    for view in ("pareto_memory", "pareto_time", "best_under_budget(1e15)"):
        assert points(ledger, view) == [0], view
    ledger.append([replace(known, run=replace(known.run, data_fingerprint="elsewhere"))])
    for view in ("pareto_memory", "pareto_time", "best_under_budget(1e15)"):
        assert points(ledger, view) == [0], view


def seeds(fake, place, qualities, peaks, outcomes):
    """Runs of one configuration that differ in the seed."""
    made = []
    for seed, (quality, peak, outcome) in enumerate(zip(qualities, peaks, outcomes, strict=True)):
        one = point(fake, place, quality, peak, 1.0)
        spec = json.loads(one.run.spec)
        spec["train"]["seed"] = seed
        names = {"run_id": f"{place}-{seed}", "fingerprint": f"{place}-{seed}", "outcome": outcome}
        one = replace(one, run=replace(one.run, spec=json.dumps(spec), seed=seed, **names))
        made.append(one if outcome is Outcome.DONE else replace(one, metrics=()))
    return made


DONE = Outcome.DONE


def test_the_largest_seed_must_stay_within_the_budget(fake, ledger):
    """Their mean is 8: it would fit under 9."""
    ledger.append(seeds(fake, 0, (0.9, 0.9, 0.9), (6, 6, 12), (DONE,) * 3))
    ledger.append(seeds(fake, 1, (0.1, 0.1, 0.1), (6, 6, 6), (DONE,) * 3))
    assert points(ledger, "best_under_budget(9)") == [1]
    assert points(ledger, "best_under_budget(12)") == [0]


@pytest.mark.parametrize(
    ("outcome", "wins"),
    [
        (Outcome.OOM, 1),
        (Outcome.DIVERGED, 1),
        (Outcome.TIMEOUT, 1),
        (Outcome.FAILED, 1),
        (Outcome.SKIPPED, 1),
        (Outcome.PRUNED, 1),
        (Outcome.INTERRUPTED, 0),
        (Outcome.RUNNING, 0),
    ],
)
@pytest.mark.parametrize("device_known", [True, False])
def test_one_seed_of_three_that_survived_wins_nothing(fake, ledger, outcome, wins, device_known):
    survivors = seeds(fake, 0, (0.9, 0.9, 0.9), (6, 6, 6), (DONE, outcome, outcome))
    if not device_known:
        survivors[1:] = [replace(one, environment=None) for one in survivors[1:]]
    ledger.append(survivors)
    ledger.append(seeds(fake, 1, (0.1, 0.1, 0.1), (6, 6, 6), (DONE,) * 3))
    assert points(ledger, "best_under_budget(9)") == [wins]
    lost = ledger.query("SELECT num_lost AS n FROM configurations ORDER BY n")["n"].to_pylist()
    assert lost == [0, 2 if wins else 0]


@pytest.mark.parametrize("view", ["pareto_memory", "pareto_time"])
def test_one_seed_of_three_that_survived_is_on_no_pareto_front(fake, ledger, view):
    """Nor does it cover another: the seed that is left may be the lucky one."""
    ledger.append(seeds(fake, 0, (0.9, 0.9, 0.9), (6, 6, 6), (DONE, Outcome.OOM, Outcome.DIVERGED)))
    assert points(ledger, view) == []
    ledger.append(seeds(fake, 1, (0.1, 0.1, 0.1), (6, 6, 6), (DONE,) * 3))
    assert points(ledger, view) == [1]


def test_a_seed_that_was_lost_and_then_done_is_not_lost(fake, ledger):
    lost, done, _ = seeds(fake, 0, (0.9, 0.9, 0.9), (6, 6, 6), (Outcome.OOM, DONE, DONE))
    again = replace(done.run, run_id="again", fingerprint=lost.run.fingerprint, attempt=2)
    ledger.append([lost, done, replace(done, run=replace(again, spec=lost.run.spec))])
    assert points(ledger, "best_under_budget(9)") == [0]
    ledger.append([replace(lost, run=replace(lost.run, run_id="last", attempt=3))])
    assert points(ledger, "best_under_budget(9)") == []


@pytest.mark.parametrize("stage", ["train", "eval"])
def test_a_seed_of_an_unknown_size_fits_no_budget(fake, ledger, stage):
    """It may have had the highest peak of all."""
    known, unread = seeds(fake, 0, (0.9, 0.9), (6, 6), (DONE, DONE))
    memory = tuple(replace(m, bytes=None) if m.stage == stage else m for m in unread.memory)
    ledger.append([known, replace(unread, memory=memory)])
    assert points(ledger, "best_under_budget(1e15)") == []
    name = {"train": "peak_bytes_max", "eval": "eval_peak_bytes_max"}[stage]
    assert ledger.query(f"SELECT {name} FROM configurations")[name].to_pylist() == [None]


def test_threads_are_part_of_what_compares_in_time(fake, ledger):
    """A slower run with fewer threads is on a front of its own; in memory the better one wins."""
    good, bad = point(fake, 0, 0.9, 1, 1.0), point(fake, 1, 0.1, 9, 9.0)
    bad = replace(bad, environment=replace(bad.environment, threads=1))
    ledger.append([good, bad])
    assert points(ledger, "pareto_time") == [0, 1]
    assert points(ledger, "pareto_memory") == [0]


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        ("'8GiB'", True),
        ("' 8 gib '", True),
        ("'8.5GB'", False),
        ("'9GB'", True),
        ("'8192M'", True),
        ("8589934592", True),
        ("8589934591", False),
        ("'8589934592'", True),
        ("8 * 1024 * 1024 * 1024", True),
        ("8*1024*1024 * 1023", False),
        ("8.6e9", True),
        ("1e30", True),
        ("pow(2, 33)", True),
    ],
)
def test_a_budget_is_a_number_of_any_size_or_a_text(fake, ledger, budget, fits):
    ledger.append([point(fake, 0, 0.9, 8 * 2**30, 1.0)])
    assert ledger.query(f"FROM best_under_budget({budget})").num_rows == fits


@pytest.mark.parametrize("budget", ["3parsecs", "GiB", "8 GiB GiB", "-8GiB", ""])
def test_a_budget_that_is_no_size_is_refused(fake, ledger, budget):
    ledger.append([point(fake, 0, 0.9, 8 * 2**30, 1.0)])
    with pytest.raises(LedgerError, match=f"invalid size: '{budget}'"):
        ledger.query(f"FROM best_under_budget('{budget}')")


def test_sizes_in_sql_are_those_of_the_command_line(ledger):
    rng = random.Random(3)
    with ledger.reading():
        for _ in range(50):
            number = rng.choice([f"{rng.randint(1, 9999)}", f"{rng.uniform(0.5, 999):.3f}"])
            unit = rng.choice(["", *BYTES_PER_UNIT]).upper()
            text = number + rng.choice(["", " "]) + unit
            found = ledger.query(f"SELECT size_in_bytes('{text}') AS n")["n"].to_pylist()
            assert int(found[0]) == parse_bytes(text if unit else f"{text}B"), text
