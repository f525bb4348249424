"""Names of runs in narrow columns: values are kept, and two runs never share a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.cli.names import readable, short_names

WORDS = ["bce", "sampled_softmax", "cross_entropy", "rece"]
KEYS = ["size", "num_negatives", "negatives.num_negatives", "num_items", "dropout", "seed"]
labels = st.builds(
    lambda name, settings: " ".join([name, *(f"{key}={value}" for key, value in settings.items())]),
    st.sampled_from(WORDS),
    st.dictionaries(st.sampled_from(KEYS), st.integers(0, 2_000_000), max_size=5),
)


@given(st.lists(labels, max_size=30, unique=True), st.integers(8, 60))
def test_two_runs_never_share_a_text_and_every_text_fits(given_labels: list[str], width: int):
    names = short_names(given_labels, width)
    assert list(names) == given_labels
    assert len(set(names.values())) == len(given_labels)
    assert all(len(name) <= width for name in names.values())


def test_a_label_is_read_as_people_say_it():
    label = "sampled_softmax size=32 num_negatives=128 num_items=1000000 loss.t=0.75 seed=1"
    assert readable(label) == "sampled_softmax, batch 32, 128 neg, 1M items, t 0.75, seed 1"


@pytest.mark.parametrize("width", [44, 31, 18])
def test_values_are_kept_where_words_are_shortened(width: int):
    runs = [f"sampled_softmax size={size} num_negatives={n}" for size in (32, 128) for n in (16, 4)]
    for label, name in short_names(runs, width).items():
        for part in label.split()[1:]:
            assert part.partition("=")[2] in name, name
