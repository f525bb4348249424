"""A chart for a column of a paper: 3.3 inches wide, no letter below 7 points."""

import html
import json
import re
from dataclasses import replace

import pytest
import vl_convert

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.reporting import page
from scalelab.store.ledger import Ledger

INCHES = 3.3
# Each takes a few seconds; the others have nothing that these do not.
CHARTS = ["pareto", "breakdown"]


def sizes(svg):
    return [float(found) for found in re.findall(r'font-size="([\d.]+)px"', svg)]


def check(spec):
    svg = vl_convert.vegalite_to_svg(spec)
    width, _ = map(float, re.search(r'width="([\d.]+)" height="([\d.]+)"', svg).groups())
    assert width == pytest.approx(INCHES * 72, abs=1)
    assert sizes(svg)
    assert min(sizes(svg)) >= 7
    # The letters that the PDF has are those of the picture: one point a pixel.
    pdf = vl_convert.vegalite_to_pdf(spec)
    box = re.search(rb"MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert float(box[1]) == pytest.approx(INCHES * 72, abs=1)
    # What sticks out of the picture is cut off in a PDF.
    assert "…" not in svg


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.slow
def test_a_pdf_of_a_column_has_letters_of_seven_points(study, name):
    check(page.draw(study, name, inches=INCHES).to_dict())


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in plugins.available("charts") if n not in CHARTS])
def test_every_chart_fits_a_column(study, name):
    check(page.draw(study, name, inches=INCHES).to_dict())


@pytest.mark.slow
def test_without_it_letters_may_be_smaller(study):
    """So the width is what keeps them large."""
    spec = page.draw(study, "kinds", font_size=5).to_dict()
    assert min(sizes(vl_convert.vegalite_to_svg(spec))) < 7


@pytest.mark.parametrize("inches", [0, "wide", 100])
def test_an_impossible_width_is_one_line(study, inches):
    with pytest.raises(SpecError, match="invalid inches"):
        page.draw(study, "kinds", inches=inches)


@pytest.fixture(scope="module")
def wordy(fake, tmp_path_factory):
    """A ledger whose configurations differ in so many settings that their names are long."""
    changes = {
        "batch": {"packer": ("best_fit", "pad_left")},
        "train": {"learning_rate": (0.001, 0.0003), "weight_decay": (0.01, 0.1)},
        "model": {"dropout": (0.2, 0.5), "activation": ("gelu", "relu"), "init_std": (0.02, 0.5)},
    }
    records = []
    for place in range(4):
        one = fake.record(
            index=place, loss="sampled_softmax", num_items=1000 + 29_000 * (place > 1)
        )
        spec = json.loads(one.run.spec)
        for section, values in changes.items():
            spec[section] |= {name: both[place % 2] for name, both in values.items()}
        run = replace(one.run, spec=json.dumps(spec), fingerprint=f"print{place}")
        records.append(replace(one, run=run))
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("wordy") / "a.duckdb")
    ledger.append(records)
    return ledger


@pytest.mark.parametrize("options", [{}, {"inches": INCHES}], ids=["usual", "column"])
@pytest.mark.parametrize("name", ["learning", "scaling"])
def test_a_long_label_of_a_legend_is_whole(wordy, name, options):
    """Two may differ in their ends alone, and an ellipsis would make them one."""
    chart = page.draw(wordy, name, **options)
    spec = chart.to_dict()
    rows = next(iter(spec["datasets"].values()))
    labels = {row["line" if name == "scaling" else "label"] for row in rows}
    assert min(map(len, labels)) > 90
    svg = vl_convert.vegalite_to_svg(spec)
    parts = re.findall(r'role-legend-label".*?</g>', svg)
    shown = {
        " ".join(html.unescape(text) for text in re.findall(r">([^<>]+)</t", part))
        for part in parts
    }
    assert shown == labels
    if options:
        check(spec)
