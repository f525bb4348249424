"""Charts of another metric than NDCG@10: their figures, their Pareto fronts and their words."""

import json
from dataclasses import replace

import pytest

from scalelab.core.dominance import beats
from scalelab.core.errors import SpecError
from scalelab.core.records import Baseline
from scalelab.findings.differences import KEY
from scalelab.findings.verdicts import baselines_of
from scalelab.reporting import page
from scalelab.reporting.charts.learning import Learning
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.charts.scaling import Scaling
from scalelab.reporting.quality import configurations_by, fronts_by, metric_of
from scalelab.store.ledger import Ledger


def of_runs(ledger, split, name, k):
    """By configuration and device, the values of a metric at the epoch that was kept."""
    rows = ledger.query(
        "SELECT configuration, device, value FROM results JOIN metrics USING (run_id) "
        "WHERE epoch = best_epoch AND split = $split AND name = $name AND k = $k",
        {"split": split, "name": name, "k": k},
    ).to_pylist()
    found = {}
    for row in rows:
        found.setdefault((row["configuration"], row["device"]), []).append(row["value"])
    return found


@pytest.mark.parametrize("chart", [Pareto, Scaling])
def test_the_figures_are_those_of_the_metric(study, chart):
    wanted = of_runs(study, "test", "hr", 20)
    rows = chart(metric="hr@20").rows(study).to_pylist()
    assert rows
    for row in rows:
        values = wanted[row["configuration"], row["device"]]
        assert row["test_quality"] == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert {row["metric"] for row in rows} == {"HR@20"}


def test_the_usual_metric_is_found_by_the_same_way(study):
    """The view's own columns and the search among all metrics agree."""
    usual = metric_of(study, "ndcg@10")
    by_view = study.query(f"FROM {configurations_by(usual)} ORDER BY ALL").to_pylist()
    other = configurations_by(metric_of(study, "ndcg@5"))
    searched = other.replace("IS NOT DISTINCT FROM 5", "IS NOT DISTINCT FROM 10")
    assert searched != other
    found = study.query(f"FROM {searched} ORDER BY ALL").to_pylist()
    names = ("valid_quality", "test_quality", "test_quality_std", "oracle_quality")
    assert [[row[name] is None for name in names] for row in by_view] == [
        [row[name] is None for name in names] for row in found
    ]
    for name in names:
        assert [row[name] or 0.0 for row in found] == pytest.approx(
            [row[name] or 0.0 for row in by_view], rel=1e-12
        )


@pytest.mark.parametrize("metric", ["ndcg@10", "hr@10", "mrr@5"])
def test_nothing_beats_what_is_on_a_front(study, metric):
    chosen = metric_of(study, metric)
    rows = study.query(f"SELECT * FROM {configurations_by(chosen)}").to_pylist()
    for front, cost in zip(fronts_by(study, chosen), ("peak_bytes", "train_s"), strict=True):
        assert front
        for row in rows:
            point = (row["valid_quality"], row[cost])
            beaten = any(
                beats((other["valid_quality"], other[cost]), point)
                for other in rows
                if all(other[name] == row[name] for name in KEY[1:])
            )
            assert (tuple(row[name] for name in KEY) in front) is not beaten


def test_a_curve_is_that_of_the_metric(study):
    rows = Learning(metric="mrr@10").rows(study).to_pylist()
    shown = {(row["configuration"], row["epoch"]): row["valid_quality"] for row in rows}
    stored = study.query(
        "SELECT configuration, epoch, value FROM results JOIN metrics USING (run_id) "
        "WHERE split = 'valid' AND name = 'mrr' AND k = 10 AND seed = 0"
    ).to_pylist()
    known = {(row["configuration"], row["epoch"]): row["value"] for row in stored}
    assert shown
    assert all(known[key] == value for key, value in shown.items())


@pytest.mark.slow
def test_what_is_drawn_says_which_metric_it_is(study):
    for name in ("pareto", "scaling", "learning"):
        spec = page.draw(study, name, metric="hr@10").to_json()
        assert "HR@10" in spec
        assert "shown is HR@10; notes on runs go by NDCG@10" in spec
        assert "test NDCG@10" not in spec
        assert "shown is" not in page.draw(study, name).to_json()


@pytest.mark.slow
def test_the_page_shows_the_metric_in_charts_and_table(study):
    text = page.page(study, metric="hr@10")
    assert "test HR@10</button>" in text
    assert '"title": "test HR@10"' in text
    assert '"title": "test NDCG@10"' not in text
    assert "HR@10" not in page.page(study)


@pytest.mark.slow
def test_a_chart_of_a_study_keeps_the_metric_that_it_names(study, tmp_path):
    charts = [{"name": "pareto", "metric": "mrr@10"}, "learning"]
    files = page.report(study, tmp_path, charts=charts, format="json", metric="hr@10")
    pareto, learning = (file.read_text() for file in files)
    assert "test MRR@10" in pareto
    assert "HR@10" not in pareto
    assert "validation HR@10" in learning


def test_an_unknown_metric_and_a_chart_without_one_are_one_line(study, tmp_path):
    with pytest.raises(SpecError, match=r"no test metric 'hr@7'") as raised:
        page.page(study, metric="hr@7")
    assert "hr@" in raised.value.hint
    with pytest.raises(SpecError, match="the chart 'kinds' shows no metric") as raised:
        page.report(study, tmp_path / "k.json", charts=["kinds"], metric="hr@10")
    assert "pareto" in raised.value.hint


@pytest.mark.slow
def test_baselines_are_those_of_the_metric(fake, tmp_path):
    record = fake.record()
    data, protocol = record.run.data_fingerprint, record.run.protocol
    values = {("ndcg", 10): 0.02, ("hr", 10): 0.05, ("hr", 5): 0.03}
    baselines = tuple(
        Baseline(
            data_fingerprint=data,
            protocol=protocol,
            name="popularity",
            split=split,
            metric=name,
            k=k,
            value=value * factor,
            seconds=0.1,
        )
        for (name, k), value in values.items()
        for split, factor in (("valid", 1.0), ("test", 0.5))
    )
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([replace(record, baselines=baselines)])
    for (name, k), value in values.items():
        found = baselines_of(ledger, f"{name}@{k}")
        assert list(found) == [(data, protocol)]
        [one] = found[data, protocol]
        assert (one.name, one.valid, one.test) == ("popularity", value, 0.5 * value)
    assert baselines_of(ledger) == baselines_of(ledger, "ndcg@10")
    [row] = Pareto(metric="hr@10").rows(ledger).to_pylist()
    assert json.loads(row["baselines"]) == {"popularity": 0.025}


def test_a_metric_that_validation_does_not_have_is_said(study):
    for chart in (Pareto(metric="popularity@10"), Learning(metric="popularity@10")):
        words = "no finished runs with popularity@10 on validation"
        assert words in str(chart.draw(chart.rows(study)).to_dict())
