"""Numbers of sentences have few digits and no exponent."""

import pytest

from scalelab.findings.rounded import rounded, times


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (2543.2, 3, "2,543"),
        (250.0, 2, "250"),
        (99.97, 2, "100"),
        (12.345, 3, "12.3"),
        (0.5, 3, "0.5"),
        (0.0000123, 2, "0.000012"),
        (0.0, 2, "0"),
    ],
)
def test_numbers_of_sentences_have_no_exponent(value, digits, text):
    assert rounded(value, digits) == text


def test_a_sign_stays_and_an_unchanged_figure_is_not_one_times():
    assert rounded(3.21, 2, sign="+") == "+3.2"
    assert rounded(1234.0, 2, sign="+") == "+1,234"
    assert rounded(-1234.0, 2, sign="+") == "-1,234"
    assert times(2.5, "long") == "2.5 times as long"
    assert times(1.001, "long") == "about as long"
