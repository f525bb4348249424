"""A chart for a column of a paper: 3.3 inches wide, no letter below 7 points."""

import re

import pytest
import vl_convert

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.reporting import page

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
