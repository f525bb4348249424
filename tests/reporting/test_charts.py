"""What the rows of the charts say, against the records they come from."""

import pytest

from scalelab.core.records import Outcome
from scalelab.reporting.charts.breakdown import Breakdown
from scalelab.reporting.charts.kinds import Kinds
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.charts.prediction import Prediction
from scalelab.reporting.charts.scaling import Scaling
from scalelab.reporting.charts.timeline import Timeline
from scalelab.store.ledger import Ledger


def test_pareto_marks_the_fronts_of_the_views(study):
    rows = Pareto().rows(study).to_pylist()
    for mark, view in (("on_memory_front", "pareto_memory"), ("on_time_front", "pareto_time")):
        pareto_front = set(
            study.query(f"SELECT configuration FROM {view}")["configuration"].to_pylist()
        )
        assert {row["configuration"] for row in rows if row[mark]} == pareto_front
    named = [(r["comparison_order"], r["best_of_loss"]) for r in rows if r["best_of_loss"]]
    assert len(named) == len(set(named)) == 18


def test_pareto_shows_the_oracle_where_it_is_known(study):
    spec = str(Pareto().draw(Pareto().rows(study)).to_dict())
    assert "oracle 0.142" in spec


def test_breakdown_bars_add_up_to_the_peak(study):
    rows = Breakdown(source="measured").rows(study).to_pylist()
    bars = {}
    for row in rows:
        bars[row["configuration"]] = bars.get(row["configuration"], 0) + row["bytes"]
        assert row["source"] == "measured"
    peaks = study.query("SELECT configuration, peak_bytes FROM configurations").to_pylist()
    assert len(peaks) == len(bars)
    for row in peaks:
        assert bars[row["configuration"]] == pytest.approx(row["peak_bytes"], abs=11)


def test_a_large_study_shows_the_best_of_each_loss_and_says_how_many_are_left_out(study):
    every = Breakdown().rows(study)
    rows = Breakdown(most=5).rows(study)
    assert set(rows["bar_order"].to_pylist()) == {0, 1, 2, 3, 4}
    count = len(set(every["configuration"].to_pylist()))
    assert f"{count - 5} configurations" in str(Breakdown(most=5).draw(rows).to_dict())
    # The first bars are the first choice of every loss on every catalog, however large.
    best = study.query("""
        SELECT configuration FROM configurations WHERE valid_quality IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY data_fingerprint, protocol, device, threads, loss
            ORDER BY valid_quality DESC, configuration) = 1
    """)["configuration"].to_pylist()
    assert set(Breakdown(most=len(best)).rows(study)["configuration"].to_pylist()) == set(best)


def test_breakdown_shows_predictions_of_cells_that_never_ran(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([fake.record(outcome=Outcome.SKIPPED)])
    rows = Breakdown().rows(ledger).to_pylist()
    assert {row["source"] for row in rows} == {"predicted"}


@pytest.mark.slow
def test_scaling_takes_what_varies(fake, study, tmp_path):
    rows = Scaling().rows(study).to_pylist()
    assert {row["setting"] for row in rows} == {"num_items"}
    keys = [(row["line"], row["value"]) for row in rows]
    assert len(keys) == len(set(keys)) == 18
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([fake.record(index=i, batch_size=2**i) for i in range(5, 9)])
    rows = Scaling().rows(ledger).to_pylist()
    assert {(row["setting"], row["value"]) for row in rows} == {
        ("batch_size", 2.0**i) for i in range(5, 9)
    }


@pytest.mark.parametrize("points", [7, 60, 5000])
def test_a_thinned_timeline_keeps_its_peak_and_its_sums(study, points):
    events = study.query("FROM timeline ORDER BY event").to_pylist()
    live, after = {}, {}
    for event in events:
        live[event["component"]] = live.get(event["component"], 0) + event["bytes"]
        after[event["event"]] = dict(live)
    peak = max(sum(state.values()) for state in after.values())
    rows = Timeline(points=points).rows(study).to_pylist()
    shown = {}
    for row in rows:
        assert row["bytes"] == after[row["event"]][row["component"]]
        shown[row["event"]] = shown.get(row["event"], 0) + row["bytes"]
        assert row["live_bytes"] == sum(after[row["event"]].values())
        assert row["peak_bytes"] == peak
    assert max(shown.values()) == peak
    phases = {event["phase"] for event in events}
    assert {row["phase"] for row in rows} == phases
    assert len(shown) <= points + len(phases)


def test_kinds_says_why_a_bar_is_missing(study):
    rows = Kinds().rows(study).to_pylist()
    assert {row["text"] for row in rows if row["bytes"] is None} == {"no CUDA device"}
    assert len({row["run_id"] for row in rows}) == 6
    assert all(row["text"] for row in rows)


def test_prediction_is_in_percent_of_the_measurement(study):
    rows = Prediction().rows(study).to_pylist()
    for row in rows:
        wanted = 100 * (row["predicted_bytes"] / row["measured_bytes"] - 1)
        assert row["error_percent"] == pytest.approx(wanted, abs=1e-9)
    assert len(Prediction(most=5).rows(study)) == 5
