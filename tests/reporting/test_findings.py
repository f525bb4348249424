"""The sentences above charts: of which data they are, and that each of them is true."""

from dataclasses import replace

import pyarrow as pa
import pytest

from scalelab.core.errors import SpecError
from scalelab.findings.differences import KEY
from scalelab.findings.rounded import rounded
from scalelab.reporting import page
from scalelab.reporting.charts.breakdown import Breakdown
from scalelab.reporting.charts.learning import Learning
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.charts.positions import Positions
from scalelab.reporting.charts.prediction import Prediction
from scalelab.reporting.charts.scaling import Scaling
from scalelab.reporting.front_sentence import front_sentence
from scalelab.store.ledger import Ledger


@pytest.fixture
def ledger_of(fake, tmp_path):
    """Make a ledger of runs with these settings each."""

    def make(*cells):
        ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
        ledger.append([fake.record(index=n, **cell) for n, cell in enumerate(cells)])
        return ledger

    return make


def said(chart, ledger):
    return chart.finding(chart.rows(ledger))


@pytest.mark.slow
def test_the_only_sentence_names_its_data_where_the_chart_has_several(ledger_of):
    ledger = ledger_of(
        {"dataset": "beauty", "batch_size": 64},
        {"dataset": "beauty", "batch_size": 128},
        {"dataset": "toys"},
    )
    for chart in (Pareto(), Breakdown()):
        lines = said(chart, ledger).splitlines()
        assert len(lines) == 1, chart
        assert lines[0].startswith("beauty: "), chart


def test_growth_is_said_of_each_data_set(ledger_of):
    cells = [{"dataset": name, "batch_size": size} for name in "ab" for size in (64, 128)]
    lines = said(Scaling(), ledger_of(*cells)).splitlines()
    assert [line[:3] for line in lines] == ["a: ", "b: "]
    assert all("from 64 to 128 batch size" in line for line in lines)


@pytest.mark.slow
def test_a_sentence_is_about_what_is_drawn(ledger_of):
    sizes = {"few": (64, 128), "many": (64, 128, 256)}
    ledger = ledger_of(
        *({"dataset": name, "batch_size": size} for name, found in sizes.items() for size in found)
    )
    assert "few: " in said(Pareto(), ledger)
    words = said(Pareto(max_comparisons=1), ledger)
    assert words
    assert "few" not in words


def test_what_the_breakdown_leaves_out_is_said_once(ledger_of):
    ledger = ledger_of(
        *({"dataset": name, "batch_size": size} for name in "ab" for size in (64, 128, 256))
    )
    lines = said(Breakdown(most=4), ledger).splitlines()
    assert len(lines) == 3
    assert lines[-1] == (
        "2 configurations are left out: of each loss the best on validation are drawn."
    )
    assert "left out" not in "".join(lines[:-1])
    assert "left out" not in said(Breakdown(), ledger)


def test_positions_name_the_best_of_each_data_set(ledger_of):
    cells = [{"dataset": name, "loss": loss} for name in "ab" for loss in ("bce", "rece")]
    lines = said(Positions(), ledger_of(*cells)).splitlines()
    assert [line[:2] for line in lines] == ["a:", "b:"]
    assert all(" for rece, " in line and "best on validation" in line for line in lines)


def test_a_best_configuration_without_positions_gives_its_name_to_no_other(fake, tmp_path):
    best, other = fake.record(index=0, loss="rece"), fake.record(index=1, loss="bce")
    assert best.metrics[1].value > other.metrics[1].value
    kept = tuple(one for one in best.metrics if not one.split.startswith(("train-", "ahead-")))
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([replace(best, metrics=kept), other])
    words = said(Positions(), ledger)
    assert " for bce" in words
    assert "best on validation" not in words


def row(label, quality, peak, *, on_front=True):
    figures = {"label": label, "valid_quality": quality, "test_quality": quality}
    figures |= {"peak_bytes": peak, "peak": f"{peak} B", "metric": "NDCG@10"}
    return figures | {"on_memory_front": on_front, "num_compared": 2}


def test_one_configuration_is_called_best_only_where_it_is():
    rows = [row("x", 0.5, 10), row("y", 0.4, 20, on_front=False)]
    assert "x is best on validation and takes the least memory" in front_sentence(rows)
    # What keeps y and z from the Pareto front is not among these rows.
    for other in (row("y", 0.6, 20, on_front=False), row("z", 0.4, 5, on_front=False)):
        words = front_sentence([row("x", 0.5, 10), other])
        assert words == (
            "One of 2 configurations is on the Pareto front of memory: "
            "x (test NDCG@10 0.5000 at 10 B)."
        )


def test_the_error_of_two_predictions_is_their_median(ledger_of):
    ledger = ledger_of({"batch_size": 64}, {"batch_size": 128})
    chart = Prediction()
    rows = chart.rows(ledger)
    low, high = sorted(abs(error) for error in rows["error_percent"].to_pylist())
    middle = rounded((low + high) / 2, 2)
    assert middle != rounded(high, 2)
    assert f"median error of 2 predicted peaks is {middle} %" in chart.finding(rows)
    assert f"error: median {middle} %" in chart.draw(rows).to_json()


def test_an_option_counts_before_that_of_the_named_chart(ledger_of, tmp_path):
    ledger = ledger_of({"batch_size": 64}, {"batch_size": 128})
    file = tmp_path / "p.json"
    chart = {"name": "pareto", "width": 200}
    page.report(ledger, file, charts=[chart], options={"width": 333}, metric="hr@10")
    text = file.read_text()
    assert "test HR@10" in text
    assert '"width": 333' in text
    assert '"width": 200' not in text


def test_two_metrics_are_refused(ledger_of, tmp_path):
    file = tmp_path / "p.json"
    with pytest.raises(SpecError, match="two metrics: hr@10 and, among the options, mrr@10") as one:
        page.report(
            ledger_of({}), file, charts=["pareto"], options={"metric": "mrr@10"}, metric="hr@10"
        )
    assert "--metric" in one.value.hint
    assert not file.exists()


@pytest.mark.parametrize("name", ["name", "ledger"])
def test_a_name_of_the_code_is_an_unknown_option(ledger_of, tmp_path, name):
    with pytest.raises(SpecError, match=f"'pareto' has no option '{name}'"):
        page.report(ledger_of({}), tmp_path / "p.json", charts=["pareto"], options={name: "x"})


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ([(3, True)], "The only drawn run was still rising at the end: more epochs may make it "
         "better."),
        ([(3, False)], "The only drawn run had stopped rising when it ended."),
        ([(1, False)], "The only drawn run was validated once: whether quality still rose is not "
         "known."),
        ([(1, False)] * 2, "All drawn runs were validated once: whether quality still rose is not "
         "known."),
        ([(2, False)] * 2, "All 2 drawn runs had stopped rising when they ended."),
        ([(2, True), (2, False), (1, False)], "1 of 3 drawn runs was still rising at the end: with "
         "more epochs the order may change; 1 was validated once."),
        ([(2, False), (1, False), (1, False)], "1 of 3 drawn runs had stopped rising when they "
         "ended; 2 were validated once."),
        ([], ""),
    ],
)  # fmt: skip
def test_learning_curves_say_no_more_than_their_points_show(curves, words):
    """A curve of one point shows no end of a rise, and one run has no order."""
    names = [*KEY, "is_rising"]
    rows = [
        {**dict.fromkeys(KEY, 0), "configuration": number, "is_rising": rising}
        for number, (points, rising) in enumerate(curves)
        for _ in range(points)
    ]
    table = pa.table({name: [row[name] for row in rows] for name in names})
    assert Learning().finding(table) == words
