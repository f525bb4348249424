"""The combinations of a study are those of itertools, made one by one, in any number."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.errors import SpecError
from scalelab.core.number_of_runs import MOST_RUNS
from scalelab.core.study import StudySpec
from scalelab.studies.combinations import Combinations, varied_keys
from scalelab.studies.grid import expand
from scalelab.sweeping.final_seeds import check_final_seeds

KEYS = ["a.name", "a.c", "d.e"]
CELLS = ["a.d", "f.name", "f.h"]


def made(**tables):
    return StudySpec.model_validate({"name": "x", "base": "sasrec-synthetic", **tables})


@given(
    axes=st.dictionaries(
        st.sampled_from(KEYS), st.lists(st.integers(0, 3), min_size=1, max_size=3)
    ),
    cells=st.lists(
        st.dictionaries(st.sampled_from(["a.d", "f.name", "f.h"]), st.integers(0, 2)), max_size=3
    ),
    overrides=st.dictionaries(st.sampled_from([*KEYS, "i.j"]), st.integers(0, 1), max_size=2),
)
def test_as_a_product_of_lists(axes, cells, overrides):
    study = made(axes=axes, cells=cells)
    found = Combinations(study, overrides)
    left = {key: values for key, values in axes.items() if key not in overrides}
    expected = [
        {**cell, **dict(zip(left, values, strict=True)), **overrides}
        for cell in cells or [{}]
        for values in itertools.product(*left.values())
    ]
    assert list(found) == expected
    assert found.number == len(expected)
    assert found.varied() == varied_keys(expected)


# More than memory holds, and more than `len` can count.
MANY = {f"train.{number}": list(range(25)) for number in range(14)}


def test_a_search_may_choose_among_any_number():
    found = Combinations(made(axes=MANY), {})
    assert found.number == 25**14
    assert set(found.at(25**14 - 1).values()) == {24}
    assert found.varied() == list(MANY)


def refused(make):
    with pytest.raises(SpecError) as caught:
        make()
    assert f"more than the {MOST_RUNS:,} that can be planned" in caught.value.message
    return caught.value


def test_more_runs_than_can_be_planned_are_refused_at_once():
    axes = {"batch.size": [1, 2]}
    many = refused(lambda: expand(made(axes=axes, repeats=10**11)))
    assert "200,000,000,000 runs" in many.message
    assert "`repeats`" in many.hint
    refused(lambda: expand(made(axes={f"train.{n}": list(range(10)) for n in range(9)})))
    searched = refused(lambda: expand(made(axes=MANY, search={})))
    assert "run the search" in searched.hint
    study = made(axes=axes, final={"seeds": 10**11})
    assert "[final]" in refused(lambda: check_final_seeds(study, {}, expand(study))).hint


def test_lists_within_cells_that_come_to_too_many_are_refused():
    cell = {f"train.{number}": list(range(10)) for number in range(9)}
    with pytest.raises(ValueError, match="more than 100,000 combinations"):
        made(cells=[cell])
