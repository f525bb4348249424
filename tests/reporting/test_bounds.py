"""The axis of quality reaches to the bounds that are not far above the points."""

import altair as alt
import pyarrow as pa

from scalelab.reporting.bounds import draw, heights
from scalelab.reporting.theme import ChartData


def _rows(oracle=None, baselines="{}"):
    return pa.table(
        {
            "test_quality": [0.10, 0.20],
            "test_low": [0.09, 0.19],
            "test_high": [0.11, 0.22],
            "oracle_quality": pa.array([oracle] * 2, pa.float64()),
            "baselines": [baselines] * 2,
        }
    )


def test_it_spans_points_spreads_and_near_bounds():
    assert heights(_rows()) == [0.22]
    assert heights(_rows(oracle=0.44)) == [0.22, 0.44]
    assert heights(_rows(oracle=0.45)) == [0.22]
    assert heights(_rows(baselines='{"popularity": 0.05, "knn": 0.9}')) == [0.22, 0.05]


def test_a_bound_beyond_the_axis_is_said_in_words_above_it():

    up = {"scale": alt.Scale(type="linear", domain=[0.0, 0.25])}
    rows = _rows(oracle=0.9, baselines='{"popularity": 0.05}')
    line, text, above = (layer.to_dict() for layer in draw(ChartData(), rows, up))
    assert line["mark"]["type"] == "rule"
    assert text["encoding"]["text"]["field"] == "bound"
    assert above["encoding"]["text"]["value"] == "above: oracle 0.9"
