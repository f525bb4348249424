"""Each panel of lines has one legend, whose entries show colour and dashes."""

import json
import re

import vl_convert

from scalelab.reporting.page import draw


def test_a_panel_has_one_legend_with_the_dashes_of_its_lines(study):
    spec = json.loads(draw(study, "learning").to_json())
    svg = vl_convert.vegalite_to_svg(spec)
    places = [panel["title"]["text"] for panel in spec["vconcat"]]
    assert len(places) > 1
    assert svg.count("role-legend-entry") == len(places)
    symbols = re.findall(r"role-legend-symbol\"[^>]*><path([^>]*)", svg)
    assert len(symbols) == svg.count("role-legend-label")
    assert all("stroke-dasharray" in symbol and 'stroke="#' in symbol for symbol in symbols)
