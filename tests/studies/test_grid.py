"""Laws of the grid: every combination once, seeds slowest, wrong keys refused with a hint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.errors import SpecError
from scalelab.core.study import StudySpec
from scalelab.studies.grid import expand, with_seed

AXES = {
    "batch.size": [1, 2, 3, 4],
    "train.epochs": [1, 2, 3],
    "train.learning_rate": [0.1, 0.2],
}


def made(**tables):
    return StudySpec.model_validate({"name": "x", "base": "sasrec-synthetic", **tables})


@given(
    axes=st.fixed_dictionaries(
        {},
        optional={k: st.lists(st.sampled_from(v), min_size=1, max_size=4) for k, v in AXES.items()},
    ),
    repeats=st.integers(1, 3),
)
def test_every_combination_occurs_once_and_seeds_vary_slowest(axes, repeats):
    configurations = expand(made(axes=axes, repeats=repeats))
    number = 1
    for values in axes.values():
        number *= len(set(values))
    assert len(configurations) == number * repeats
    assert len({configuration.spec.as_json() for configuration in configurations}) == len(
        configurations
    )
    assert len({configuration.label for configuration in configurations}) == len(configurations)
    seeds = [configuration.spec.train.seed for configuration in configurations]
    assert seeds == sorted(seeds)
    assert [configuration.repeat for configuration in configurations] == seeds
    for repeat in range(repeats):
        block = configurations[repeat * number : (repeat + 1) * number]
        assert [with_seed(c.spec, 0) for c in block] == [c.spec for c in configurations[:number]]


def test_sections_that_are_given_whole_are_told_apart():
    recent = {"name": "recent", "num_negatives": 8, "per": "batch"}
    uniform = {"name": "uniform", "num_negatives": 4, "per": "batch"}
    values = [
        [uniform],
        [recent | {"half_life_days": 30.0}],
        [recent | {"half_life_days": 365.0}],
        [recent | {"half_life_days": 365.0, "num_negatives": 16}],
    ]
    axes = {"negatives": values, "loss.name": ["bce", "sampled_softmax"]}
    labels = [each.label for each in expand(made(axes=axes, repeats=2))]
    assert len(set(labels)) == 16
    assert labels[:7:2] == [
        "negatives=uniform bce seed=0",
        "negatives=recent bce num_negatives=8 half_life_days=30 seed=0",
        "negatives=recent bce num_negatives=8 half_life_days=365 seed=0",
        "negatives=recent bce num_negatives=16 half_life_days=365 seed=0",
    ]


def test_configurations_are_crossed_with_axes():
    study = made(
        axes={"batch.size": [16, 32]},
        cells=[
            {"loss.name": "bce", "negatives.num_negatives": 4},
            {"loss.name": "dense_ce"},
        ],
    )
    seen = [(c.spec.loss.name, c.spec.batch.size, len(c.spec.negatives)) for c in expand(study)]
    assert seen == [("bce", 16, 1), ("bce", 32, 1), ("dense_ce", 16, 0), ("dense_ce", 32, 0)]


def test_what_a_loss_does_not_take_makes_no_second_configuration():
    axes = {"loss.name": ["dense_ce", "bce"], "negatives.num_negatives": [1, 2, 3]}
    names = [configuration.spec.loss.name for configuration in expand(made(axes=axes))]
    assert sorted(names) == ["bce"] * 3 + ["dense_ce"]


def test_an_override_wins_over_set_axes_and_configurations():
    study = made(
        set={"train.epochs": 7},
        axes={"batch.size": [16, 32]},
        cells=[{"model.hidden_dim": 32}, {"model.hidden_dim": 16}],
    )
    given_ = {"train.epochs": 2, "batch.size": 8, "model.hidden_dim": 48}
    (configuration,) = expand(study, given_)
    spec = configuration.spec
    assert (spec.train.epochs, spec.batch.size, spec.model.options["hidden_dim"]) == (2, 8, 48)


def test_labels_leave_out_what_the_name_of_a_part_tells():
    gru = {"model.name": "gru4rec", "model.dropout": 0.3}
    sasrec = {"model.name": "sasrec", "model.num_blocks": [1, 2]}
    labels = [each.label for each in expand(made(cells=[gru, sasrec]))]
    assert labels == ["gru4rec", "sasrec num_blocks=1", "sasrec num_blocks=2"]
    # Without a name that differs the option is all there is.
    labels = [each.label for each in expand(made(axes={"model.num_blocks": [1, 2]}))]
    assert labels == ["num_blocks=1", "num_blocks=2"]


def test_labels_name_what_varies_and_nothing_else():
    axes = {"loss.name": ["bce", "dense_ce"], "batch.size": [16, 32], "train.epochs": [3]}
    labels = [configuration.label for configuration in expand(made(axes=axes, repeats=2))]
    assert labels[:4] == [
        "bce size=16 seed=0",
        "bce size=32 seed=0",
        "dense_ce size=16 seed=0",
        "dense_ce size=32 seed=0",
    ]


@pytest.mark.parametrize(
    ("tables", "message", "hint"),
    [
        ({"axes": {"btach.size": [1]}}, "no section 'btach'", "did you mean 'batch'"),
        ({"axes": {"batch.sise": [1]}}, "unknown key 'batch.sise'", "did you mean 'batch.size'"),
        (
            {"axes": {"model.hidden_dmi": [1]}},
            "no option 'hidden_dmi'",
            "did you mean 'hidden_dim'",
        ),
        ({"axes": {"loss.name": ["bec"]}}, "no loss called 'bec'", "did you mean 'bce'"),
        (
            {"axes": {"batch.size": [16, -1]}},
            "configuration size=-1",
            "allowed: a whole number, 1 to 2,147,483,647",
        ),
        ({"axes": {"batch.size": []}}, "has no values", "at least one"),
        (
            {"axes": {"batch.size": [1]}, "cells": [{"batch.size": 2}]},
            "both an axis and set in [[cells]]",
            "one of them",
        ),
    ],
)
def test_a_wrong_study_is_refused_with_one_line_and_a_hint(tables, message, hint):
    with pytest.raises(SpecError) as caught:
        expand(made(**tables))
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_a_list_in_a_cell_stands_for_one_cell_for_each_of_its_values():
    study = made(
        axes={"train.seed": [0, 1]},
        cells=[
            {"loss.name": ["dense_ce", "cross_entropy"], "data.num_items": [500, 900]},
            {"loss.name": "bce", "negatives.num_negatives": [1, 4]},
        ],
    )
    seen = [
        (c.spec.loss.name, c.spec.data.options["num_items"], c.spec.train.seed)
        for c in expand(study)
        if c.spec.loss.name != "bce"
    ]
    losses, sizes = ("dense_ce", "cross_entropy"), (500, 900)
    assert seen == [(loss, size, seed) for loss in losses for size in sizes for seed in (0, 1)]
    counts = [c.spec.negatives[0].num_negatives for c in expand(study) if c.spec.negatives]
    assert counts == [1, 1, 4, 4]
    assert len({c.label for c in expand(study)}) == 12


def test_a_key_that_takes_a_list_keeps_it_and_a_list_of_lists_is_spelt_out():
    both = [{"name": "uniform", "num_negatives": 3}, {"name": "popularity", "num_negatives": 5}]
    kept = made(cells=[{"loss.name": "bce", "negatives": both, "measure.probes": ["nvml"]}])
    (only,) = expand(kept)
    assert [source.num_negatives for source in only.spec.negatives] == [3, 5]
    assert only.spec.measure.probes == ("nvml",)
    spelt = expand(made(cells=[{"loss.name": "bce", "negatives": [both, both[:1]]}]))
    assert [len(c.spec.negatives) for c in spelt] == [2, 1]


def test_an_override_takes_the_place_of_the_list_of_a_cell():
    study = made(cells=[{"batch.size": [32, 128]}])
    assert [c.spec.batch.size for c in expand(study, {"batch.size": 7})] == [7]


def test_an_empty_list_in_a_cell_is_refused(tmp_path):
    sections = {"base": "sasrec-synthetic", "cells": [{"batch.size": []}]}
    with pytest.raises(SpecError, match=r"'batch.size' has an empty list"):
        StudySpec.from_sections(sections, tmp_path / "s.toml", "s")
