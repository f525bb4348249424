"""Each panel of lines has one legend with colour and dashes, which agree among the panels."""

import json
import re

import pytest
import vl_convert

from scalelab.reporting.charts.learning import Learning
from scalelab.reporting.charts.positions import Positions
from scalelab.reporting.page import draw
from scalelab.store.ledger import Ledger


def test_a_panel_has_one_legend_with_the_dashes_of_its_lines(study):
    spec = json.loads(draw(study, "learning").to_json())
    svg = vl_convert.vegalite_to_svg(spec)
    places = [panel["title"]["text"] for panel in spec["vconcat"]]
    assert len(places) > 1
    assert svg.count("role-legend-entry") == len(places)
    symbols = re.findall(r"role-legend-symbol\"[^>]*><path([^>]*)", svg)
    assert len(symbols) == svg.count("role-legend-label")
    assert all("stroke-dasharray" in symbol and 'stroke="#' in symbol for symbol in symbols)


@pytest.mark.parametrize("chart", [Learning(), Positions()])
def test_a_name_looks_the_same_in_all_panels(fake, tmp_path, chart):
    cells = [("a", "rece", 64), ("a", "rece", 128), ("b", "rece", 64), ("c", "rece", 128)]
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append(
        [
            fake.record(index=n, dataset=dataset, loss=loss, batch_size=size)
            for n, (dataset, loss, size) in enumerate(cells)
        ]
    )
    found = []

    def collect(part):
        if isinstance(part, dict):
            if isinstance(part.get("strokeDash"), dict):
                scale = part["strokeDash"]["scale"]
                found.append(dict(zip(scale["domain"], map(tuple, scale["range"]), strict=True)))
            part = list(part.values())
        for one in part if isinstance(part, list) else ():
            collect(one)

    collect(json.loads(chart.draw(chart.rows(ledger)).to_json()))
    dashes = {name: dash for panel in found for name, dash in panel.items()}
    assert len(dashes) == len(set(dashes.values())) == 2
    assert all(panel.items() <= dashes.items() for panel in found)
    assert {len(panel) for panel in found} == {1, 2}
