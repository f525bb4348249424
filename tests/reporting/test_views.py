"""What the page makes of a chart: views, colours that can be read, options of every chart."""

import json
from dataclasses import replace

import pytest

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.records import Metric
from scalelab.core.study import StudySpec
from scalelab.core.units import format_bytes
from scalelab.findings.differences import key_of
from scalelab.reporting import page, theme
from scalelab.reporting.charts.breakdown import Breakdown
from scalelab.reporting.charts.learning import Learning
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.configurations import collect
from scalelab.reporting.views import Keys, split
from scalelab.store.ledger import Ledger


def contrast(one, other):
    def light(colour):
        named = {"white": "#FFFFFF", "black": "#000000"}
        text = named.get(colour, colour)
        parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_losses_and_words_can_be_read_on_dark_paper():
    paper = theme.DARK["white"]
    for name in plugins.available("losses"):
        colour = theme.colour_of(name)
        assert contrast(theme.DARK.get(colour, colour), paper) >= 3, name
    for colour in ("#222222", "#555555", "#777777", "#B03A2E"):
        assert contrast(theme.DARK[colour], paper) >= 4.5, colour
    for name, colour in theme.COMPONENTS.items():
        assert contrast(theme.DARK.get(colour, colour), paper) >= 3, name


@pytest.mark.slow
def test_a_chart_becomes_views_without_fixed_widths(study):
    keys = Keys()
    parts = split(Pareto().draw(Pareto().rows(study)).to_dict(), keys)
    drawn = [view for view in parts.views if not view.listing]
    assert len(drawn) == 6
    assert all(view.spec["width"] == "container" for view in drawn)
    assert all(isinstance(view.spec["height"], int) for view in drawn)
    # The table of a front stands under the panels of its own data.
    groups = [view.group for view in parts.views]
    assert groups == [g for g in dict.fromkeys(groups) for _ in range(3)]
    text = json.dumps([view.spec for view in drawn])
    assert '"legend": null' in text
    assert "picked && !picked[datum.key]" in text
    assert text.count('"brush"') == 6


@pytest.mark.slow
def test_one_number_names_a_configuration_in_all_charts_and_in_the_table(study):
    keys = Keys()
    table = collect(study, keys)
    labels = {row.number: row.label for row in table.rows}
    for chart in (Pareto(), Breakdown(), Learning()):
        rows = chart.rows(study)
        numbers = {keys.of(key_of(row)): row["label"] for row in rows.to_pylist()}
        parts = split(chart.draw(rows).to_dict(), keys)
        shown = {row["key"] for rows in parts.datasets.values() for row in rows if "key" in row}
        assert shown
        assert shown <= set(numbers)
        assert set(labels) & shown
    assert len(labels) == study.query("SELECT count(*) AS n FROM configurations")["n"][0].as_py()


def test_the_best_of_each_comparison_is_marked_and_compared_with(study):
    table = collect(study, Keys())
    best = study.query(
        "SELECT max(valid_ndcg_10) AS best FROM configurations GROUP BY data_fingerprint"
    )["best"].to_pylist()
    column = [column.text for column in table.columns].index("valid NDCG@10")
    assert sorted(row.values[column][1] for row in table.rows if row.is_best) == sorted(best)
    assert set(table.settings["best"].values()) == {r.number for r in table.rows if r.is_best}


def test_learning_draws_one_seed_a_configuration_over_epochs_and_clock(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    records = [fake.record(index=i, seed=i, num_epochs=4) for i in range(2)]
    clocks = tuple(
        Metric(split="train", epoch=epoch, name="wall_s", k=None, value=2.5 * epoch)
        for epoch in range(1, 5)
    )
    ledger.append([replace(one, metrics=(*one.metrics, *clocks)) for one in records])
    rows = Learning().rows(ledger).to_pylist()
    assert [(row["epoch"], row["at_s"], row["seed"]) for row in rows] == [
        (n, 2.5 * n, 0) for n in range(1, 5)
    ]
    curve = [m.value for m in records[0].metrics if (m.split, m.name, m.k) == ("valid", "ndcg", 10)]
    assert [row["valid_quality"] for row in rows] == curve
    spec = Learning().draw(Learning().rows(ledger)).to_dict()
    assert len(spec["vconcat"][0]["hconcat"]) == 2


def test_learning_keeps_the_best_of_each_loss(study):
    rows = Learning(most=6).rows(study).to_pylist()
    large = [row for row in rows if row["num_items"] == 100_000]
    assert {row["loss"] for row in large} == {row["loss"] for row in rows}
    assert len({row["configuration"] for row in large}) == 6


def test_findings_are_computed_from_the_rows(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([fake.record(index=i, batch_size=size) for i, size in enumerate((64, 128))])
    low, high = sorted(
        ledger.query("SELECT peak_bytes FROM configurations")["peak_bytes"].to_pylist()
    )
    words = Breakdown().finding(Breakdown().rows(ledger))
    assert f"From {format_bytes(low)} (bce, 256 negatives, batch 64)" in words
    assert f"{high / low:.3g} times" in words
    words = Pareto().finding(Pareto().rows(ledger))
    front = ledger.query("FROM pareto_memory").to_pylist()
    assert f"{len(front)} of 2 configurations are on" in words or "this one configuration" in words
    assert f"{front[-1]['test_ndcg_10']:.4f}" in words or len(front) == 1
    assert "rising" in Learning().finding(Learning().rows(ledger))


def test_title_and_letters_are_options_of_every_chart(study):
    plain = page.draw(study, "kinds").to_dict()
    spec = page.draw(study, "kinds", title="Mine", font_size=22, width=300).to_dict()
    assert spec["title"]["text"] == "Mine"
    assert spec["config"]["axis"]["labelFontSize"] == 22
    assert spec["config"]["axis"]["titleFontSize"] == pytest.approx(
        2 * plain["config"]["axis"]["titleFontSize"]
    )
    with pytest.raises(SpecError, match="font_size"):
        page.draw(study, "kinds", font_size="big")


def test_a_study_names_charts_with_options_and_its_question(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '# What is best?\nbase = "sasrec-synthetic"\n'
        'charts = ["breakdown", {name = "pareto", width = 300}]\n[axes]\n"batch.size" = [32]\n'
    )
    study = StudySpec.load(file)
    assert study.question == "What is best?"
    assert study.charts == ("breakdown", {"name": "pareto", "width": 300})
    file.write_text('base = "sasrec-synthetic"\ncharts = [{width = 300}]\n')
    with pytest.raises(SpecError, match="without a name"):
        StudySpec.load(file)


@pytest.mark.slow
def test_every_chart_has_a_finding_from_its_rows(study, fake, tmp_path):
    for name in plugins.available("charts"):
        chart = plugins.load("charts", name)()
        rows = chart.rows(study)
        assert len(chart.finding(rows)) > 20, name
        empty = Ledger.create_or_open(tmp_path / f"{name}.duckdb")
        assert chart.finding(chart.rows(empty)) == "", name
        empty.append([fake.record()])
        alone = chart.finding(chart.rows(empty))
        assert name not in ("pareto", "breakdown", "scaling") or alone == ""


def test_findings_name_the_figures_of_the_ledger(study):
    timeline = plugins.load("charts", "timeline")()
    rows = timeline.rows(study)
    first = rows.to_pylist()[0]
    words = timeline.finding(rows)
    assert format_bytes(first["peak_bytes"]) in words
    at_peak = [row for row in rows.to_pylist() if row["live_bytes"] == first["peak_bytes"]]
    large = max(at_peak, key=lambda row: row["bytes"])
    assert f"{100 * large['bytes'] / first['peak_bytes']:.0f} % of it" in words
    scaling = plugins.load("charts", "scaling")(by="num_items")
    rows = scaling.rows(study)
    lines = {}
    for row in rows.to_pylist():
        lines.setdefault((row["place"], row["line"]), []).append(row)
    longest = max(lines.values(), key=len)
    growth = longest[-1]["peak_bytes"] / longest[0]["peak_bytes"]
    assert f"peak is {growth:.3g} times as large" in scaling.finding(rows)
    prediction = plugins.load("charts", "prediction")()
    errors = [abs(e) for e in prediction.rows(study)["error_percent"].to_pylist()]
    assert f"by {max(errors):.2g} %" in prediction.finding(prediction.rows(study)).replace(
        "+", ""
    ).replace("-", "")
    kinds = plugins.load("charts", "kinds")()
    largest = study.query("SELECT max(peak_bytes) AS most FROM results")["most"][0].as_py()
    assert f"requested {format_bytes(largest)}" in kinds.finding(kinds.rows(study))


def test_a_study_with_its_default_charts_shows_negatives_where_they_vary(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "n.duckdb")
    ledger.append([fake.record(index=0, num_negatives=16)])
    assert page.chart_names(ledger) == ["pareto", "breakdown", "learning", "popularity"]
    ledger.append([fake.record(index=1, num_negatives=64)])
    growth = {"name": "scaling", "by": "num_negatives"}
    assert page.chart_names(ledger) == ["pareto", "breakdown", "learning", growth, "popularity"]
    ledger.add_study("s", "s", 'charts = ["pareto"]', fake.record().run.started_at)
    assert page.chart_names(ledger) == ["pareto"]
