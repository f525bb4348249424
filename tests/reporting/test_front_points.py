"""Numbers at the points of a Pareto chart: readable or left out, whatever the width of a panel."""

import random
import re
from dataclasses import replace
from itertools import pairwise

import altair as alt
import pytest
import vl_convert

from scalelab.reporting import axes, page
from scalelab.reporting.front_points import number_widths
from scalelab.reporting.views import PANEL_WIDTH, Keys, split
from scalelab.store.ledger import Ledger

APART = 15
HEIGHT = 330


def a_front(number, seed, best=()):
    rng = random.Random(seed)
    costs = sorted(rng.uniform(1, 2) for _ in range(number))
    qualities = sorted(rng.uniform(0, 1) ** 3 for _ in range(number))
    rows = [
        {
            "peak_bytes": cost,
            "test_quality": quality,
            "on_memory_front": True,
            "best_of_loss": "bce" if place in best else None,
        }
        for place, (cost, quality) in enumerate(zip(costs, qualities, strict=True))
    ]
    return rng.sample(rows, number)


def scales():
    across = alt.Scale(type="linear", domain=[1.0, 2.0])
    return across, alt.Scale(type="linear", domain=[0.0, 1.0])


def widths_of(rows):
    across, up = scales()
    return number_widths(rows, cost="peak_bytes", across=across, up=up, height=HEIGHT)


def shown_at(width, rows):
    return [
        row
        for row, least in zip(rows, widths_of(rows), strict=True)
        if least is not None and least <= width
    ]


@pytest.mark.parametrize("number", [1, 2, 5, 20, 60, 400])
@pytest.mark.parametrize("width", [180, 300, 430, 590])
def test_no_number_covers_another_at_any_width(number, width):
    across, up = scales()
    rows = a_front(number, seed=number)
    at = [
        (
            axes.position(across, row["peak_bytes"]) * width,
            axes.position(up, row["test_quality"]) * HEIGHT,
        )
        for row in shown_at(width, rows)
    ]
    assert at
    for place, (x, y) in enumerate(at):
        for other_x, other_y in at[:place]:
            assert max(abs(x - other_x), abs(y - other_y)) >= APART - 1e-6


def test_the_ends_and_then_the_best_of_each_loss_have_theirs_first():
    rows = a_front(200, seed=1, best=range(0, 200, 40))
    ends = [min(rows, key=lambda r: r["peak_bytes"]), max(rows, key=lambda r: r["peak_bytes"])]
    assert [widths_of(rows)[rows.index(end)] for end in ends] == [0, 0]
    shown = shown_at(590, rows)
    assert 6 <= len(shown) < 60
    named = [row for row in rows if row["best_of_loss"]]
    assert all(row in shown for row in named)


def test_a_wider_panel_shows_the_numbers_of_a_narrower_one_and_more():
    rows = a_front(60, seed=2)
    found = [shown_at(width, rows) for width in (180, 300, 430, 2000)]
    for narrow, wide in pairwise(found):
        assert all(row in wide for row in narrow)
        assert len(narrow) < len(wide)


def test_points_that_do_not_touch_are_all_numbered():
    rows = a_front(5, seed=0)
    for place, row in enumerate(sorted(rows, key=lambda row: row["peak_bytes"])):
        row["peak_bytes"] = 1.0 + place / 5
    assert len(shown_at(180, rows)) == 5


def test_two_points_at_one_place_have_one_number():
    rows = a_front(2, seed=0)
    rows[1] = dict(rows[0])
    assert sorted(widths_of(rows), key=str) == [0, None]


def test_what_is_not_on_the_front_has_none():
    rows = [row | {"on_memory_front": False} for row in a_front(3, seed=0)]
    assert widths_of(rows) == [None] * 3


@pytest.fixture(scope="module")
def crowded(fake, tmp_path_factory):
    """A ledger whose Pareto front of memory has 60 points."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("crowded") / "a.duckdb")
    ledger.append([_on_the_front(fake, place) for place in range(60)])
    return ledger


def _on_the_front(fake, place):
    made = fake.record(index=place, batch_size=16 + place)
    metrics = [
        replace(one, value=0.05 + 0.001 * place) if one.split in ("valid", "test") else one
        for one in made.metrics
        if one.name == "ndcg"
    ]
    memory = [
        replace(one, bytes=10**8 + 10**6 * place) if one.component == "total" else one
        for one in made.memory
    ]
    return replace(made, metrics=tuple(metrics), memory=tuple(memory))


def test_a_crowded_chart_leaves_numbers_out_and_its_hover_text_keeps_all(crowded):
    chart = page.draw(crowded, "pareto")
    spec = chart.to_dict()
    svg = vl_convert.vegalite_to_svg(spec)
    numbers = re.findall(r'font-size="9px" font-weight="bold"[^>]*>(\d+)<', svg)
    memory = [int(one) for one in numbers]
    assert 1 in memory
    assert 60 in memory
    assert len(set(memory)) < 45
    assert {param["name"]: param["value"] for param in spec["params"]} == {PANEL_WIDTH: 430}
    rows = next(rows for rows in spec["datasets"].values() if "peak_bytes_number_from" in rows[0])
    assert sorted(row["number"] for row in rows if row["on_memory_front"]) == [*range(1, 61)]
    assert '"field": "number", "title": "number on the Pareto front"' in chart.to_json(indent=None)


def test_on_the_page_a_panel_has_the_width_of_its_place(crowded):
    parts = split(page.draw(crowded, "pareto").to_dict(), Keys())
    drawn = [view.spec for view in parts.views if view.spec]
    assert len(drawn) == 2
    for spec in drawn:
        assert {"name": PANEL_WIDTH, "expr": "width"} in spec["params"]
