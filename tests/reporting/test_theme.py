"""Scales, ticks and colours."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalelab.core import plugins
from scalelab.reporting import axes, theme
from scalelab.reporting.labels import Label, place

SIZES = st.floats(1e-3, 1e13, allow_nan=False)
UNITS = st.sampled_from(["byte", "s", "count", ""])


@given(st.lists(SIZES, min_size=1, max_size=9), UNITS, st.booleans())
def test_an_axis_spans_its_numbers_and_its_ticks(found, unit, zero):
    axis = axes.axis_of(found, "title", unit=unit, zero=zero)
    scale = axis["scale"].to_dict()
    low, high = scale["domain"]
    assert low <= min(found)
    assert max(found) <= high
    ticks = axis["axis"].to_dict()["values"]
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 9
    if scale["type"] == "linear" and high - low > 1e-6 * high:
        assert ticks
    slack = 1e-9 * (high - low) + 1e-9 * abs(high)
    assert all(low - slack <= tick <= high + slack for tick in ticks)


@given(st.lists(SIZES, min_size=2, max_size=5, unique=True), st.floats(0, 1))
@example([0.001, 0.0010000000000000002], 0.5)
@example([1.0, 1.0 + 2e-9], 0.3)
def test_a_place_on_an_axis_leads_back_to_its_value(found, fraction):
    scale = axes.axis_of(found, "title")["scale"]
    value = axes.value_at(scale, fraction)
    assert axes.position(scale, value) == pytest.approx(fraction, abs=1e-6)


def test_every_loss_has_a_colour_and_shape_of_its_own():
    names = plugins.available("losses")
    for name in [*names, "never_seen"]:
        assert theme.loss_color([name]).to_dict()["scale"]["range"]
    looks = [
        (
            theme.loss_color([name]).to_dict()["scale"]["range"][0],
            theme.loss_shape([name]).to_dict()["scale"]["range"][0],
        )
        for name in names
    ]
    assert len(set(looks)) == len(looks)


def lab(colour):
    """Lightness and two hues, in which equal distances look equally far apart; and luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    x_root, y_root, z_root = (part ** (1 / 3) for part in (x, y, z))
    place = (116 * y_root - 16, 500 * (x_root - y_root), 200 * (y_root - z_root))
    return place, y


def test_losses_can_be_told_apart_and_read_on_a_dark_page():
    """cross_entropy and dense_ce had almost one blue there."""
    shown = {theme.DARK.get(c, c) for c in map(theme.colour_of, plugins.available("losses"))}
    assert len(shown) == len({theme.colour_of(name) for name in plugins.available("losses")})
    places = [lab(colour) for colour in sorted(shown)]
    _, ground = lab(theme.DARK["white"])
    for number, (one, luminance) in enumerate(places):
        assert (luminance + 0.05) / (ground + 0.05) > 4
        assert all(math.dist(one, other) > 12 for other, _ in places[:number])


def test_a_loss_looks_the_same_in_any_company():
    alone = theme.loss_color(["bce"]).to_dict()["scale"]
    among = theme.loss_color(["rece", "bce", "sce"]).to_dict()["scale"]
    assert among["range"][among["domain"].index("bce")] == alone["range"][0]


def test_components_have_colours_of_their_own():
    colours = list(theme.COMPONENTS.values())
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in colours)


@given(st.lists(st.tuples(st.floats(30, 400), st.floats(20, 300)), min_size=1, max_size=6))
def test_labels_do_not_cover_each_other(spots):
    labels = [Label(text="softmax", x=x, y=y) for x, y in spots]
    placed = place(labels, spots, 430, 330)
    centres = [(label.x + label.dx, label.y + label.dy) for label in placed]
    for i, (x, y) in enumerate(centres):
        for other_x, other_y in centres[:i]:
            assert abs(x - other_x) >= 44 or abs(y - other_y) >= 12.9
