"""The study in the ledger reads back as the study that was run."""

import datetime
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.study import StudySpec
from scalelab.studies.study_toml import as_toml, study_id

VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.dates(),
        st.datetimes(),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.from_regex(r"[a-z]+(\.[a-z_0-9]+){1,2}", fullmatch=True)


@given(overrides=st.dictionaries(KEYS, VALUES, max_size=4))
def test_overrides_of_any_kind_read_back_equal(overrides):
    study = StudySpec(name="x", base="sasrec-synthetic")
    assert tomllib.loads(as_toml(study, overrides))["overrides"] == overrides


def test_a_whole_study_reads_back_equal():
    study = StudySpec.model_validate(
        {
            "name": 'quotes " and \\ and \n lines',
            "base": "sasrec-synthetic",
            "set": {"train.epochs": 2, "data.where": "rating > 3 AND name = 'x'"},
            "axes": {"batch.size": [8, 16], "negatives": [[{"name": "uniform"}], []]},
            "cells": [{"loss.name": "bce", "negatives.num_negatives": 4}, {"loss.name": "gbce"}],
            "budget": {"memory": "4GiB"},
            "final": {"seeds": 2},
        }
    )
    read = tomllib.loads(as_toml(study, {}))
    assert read.pop("overrides") == {}
    assert StudySpec.model_validate(read) == study


def test_the_id_depends_on_study_and_overrides_and_not_on_where_the_base_lies():
    study = StudySpec(name="x", base="/a/base.toml", axes={"batch.size": [1]})
    moved = study.model_copy(update={"base": "/b/base.toml"})
    assert study_id(study, {}) == study_id(moved, {})
    others = [
        study_id(study, {"batch.size": 1}),
        study_id(study, {"data.cut": datetime.date(2020, 1, 1)}),
        study_id(study, {"data.cut": datetime.date(2020, 1, 2)}),
        study_id(study.model_copy(update={"repeats": 2}), {}),
    ]
    assert len({study_id(study, {}), *others}) == 5
