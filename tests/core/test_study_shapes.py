"""A study of the wrong shape is refused in one line, and what the hint says works when typed."""

import re

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.given import run_or_study_of
from scalelab.core.spec import RunSpec, with_overrides
from scalelab.core.study import StudySpec

BASE = 'base = "sasrec-synthetic"\n'
# What is right above the wrong lines, these, and what is said of them.
WRONG = [
    ("[axes]", '"batch.size" = 32', "is not a list"),
    ("[axes]", "batch.size = 32", "is not a list"),
    ("[axes]", '"loss.name" = "dense_ce"', "is not a list"),
    ("[axes]", '"batch.size" = "32, 64"', "is not a list"),
    ("[axes]", '"loss.name" = "dense_ce, cross_entropy"', "is not a list"),
    ("[axes]", '"batch.size" = [[32, 64]]', "a list in a list"),
    ("[axes]", '"batch.size" = {values = [32, 64]}', "is a table"),
    ("[axes]", 'loss = ["dense_ce", "cross_entropy"]', "keys of its own"),
    ("[axes]", 'negatives = {name = "uniform"}', "is not a list"),
    ("[set]", 'loss = "dense_ce"', "keys of its own"),
    ("[[cells]]", 'model = "gru4rec"', "keys of its own"),
    ("", '"batch.size" = [32, 64]', "is a key of a run"),
    ("", "batch.size = [32, 64]", "is a key of a run"),
    ("", "[model]\nhidden_dim = 8", "is a key of a run"),
    ("", "axes = 3", "axes = 3"),
    ("", '[[axes]]\n"batch.size" = [32, 64]', "axes = ["),
    ("", "set = 3", "set = 3"),
    ("", '[[set]]\n"batch.size" = 32', "set = ["),
    ("", '[cells]\n"batch.size" = 32', "cells = {"),
    ("", "cells = 3", "cells = 3"),
    ("", 'cells = ["dense_ce"]', "cells = ["),
    ("", 'charts = "pareto"', "charts = 'pareto'"),
    ("", 'published = ["x.csv"]', "published = "),
    ("", "final = 3", "final = 3"),
    ("", "[[final]]\nseeds = 3", "final = ["),
    ("", "[[budget]]\ntime = '10min'", "budget = ["),
    ("", "[search]\nobjectives = 'quality'", "search.objectives"),
]


def load(folder, text):
    file = folder / "study.toml"
    file.write_text(text, encoding="utf-8")
    return StudySpec.load(file)


def typed(above, wrong, hint):
    """The file after somebody did what the hint says."""
    if found := re.fullmatch(r"write (\[+\w+\]+) with (?:one|two) pairs? of brackets.*", hint):
        return re.sub(r"\[+\w+\]+", found[1], wrong, count=1)
    if found := re.fullmatch(r"write it below a line with (\[\w+\]): (.+)", hint):
        return f"{found[1]}\n{found[2]}"
    if found := re.fullmatch(r"write (\[+\w+\]+) (?:on a line|for each).*its keys: (\w+),.*", hint):
        return f"{found[1]}\n{found[2]} = 3"
    if found := re.fullmatch(r"write (\[+\w+\]+) (?:on a line|for each)[^\"]*(\".+)", hint):
        return f"{found[1]}\n{found[2]}"
    if wrong.startswith("[search]"):
        return hint.removeprefix("write ")
    return f"{above}\n{hint.removeprefix('write ')}"


@pytest.mark.parametrize(
    ("above", "wrong", "message"), WRONG, ids=[f"{a} {b}" for a, b, _ in WRONG]
)
def test_a_wrong_shape_is_refused_with_a_hint_that_works(tmp_path, above, wrong, message):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, f"{BASE}{above}\n{wrong}\n")
    assert message in caught.value.message
    if wrong == "cells = 3":
        assert caught.value.hint.startswith("write [[cells]] with two pairs of brackets")
    else:
        load(tmp_path, f"{BASE}{typed(above, wrong, caught.value.hint)}\n")


@pytest.mark.parametrize("key", ["repeats = 3", 'charts = ["pareto"]', 'prune = "median"'])
@pytest.mark.parametrize("table", ["[axes]", "[set]", "[[cells]]"])
def test_a_key_of_the_study_below_a_table(tmp_path, key, table):
    with pytest.raises(SpecError, match="is a key of the study") as caught:
        load(tmp_path, f"{BASE}{table}\n{key}\n")
    line = caught.value.hint.removeprefix("write ").partition(" above ")[0]
    load(tmp_path, f"{BASE}{line}\n{table}\n")


def test_a_study_without_its_base_is_not_taken_for_a_run(tmp_path):
    for text in (
        '[axes]\n"batch.size" = [32]',
        f'[axes]\n"batch.size" = [32]\n{BASE}',
        "repeats = 3",
    ):
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            run_or_study_of(tmp_path / "study.toml", {})
        assert 'base = "sasrec-synthetic"' in caught.value.hint


def test_dots_without_quotes_mean_the_same(tmp_path):
    quoted = f'{BASE}[axes]\n"batch.size" = [32, 64]\n"train.table.optimizer" = ["sgd"]\n'
    plain = quoted.replace('"batch.size"', "batch.size").replace(
        '"train.table.optimizer"', "train.table.optimizer"
    )
    assert load(tmp_path, plain).axes == load(tmp_path, quoted).axes


def test_a_section_given_as_a_table_changes_its_own_keys_only():
    base = {
        "batch": {"size": 8, "max_len": 9},
        "loss": {"name": "rece", "rounds": 2},
        "negatives": {"name": "uniform", "num_negatives": 7},
        "train": {"epochs": 3, "table": {"optimizer": "sgd"}},
    }
    given = {
        "batch": {"size": 4},
        "negatives": {"per": "batch"},
        "train": {"table": {"schedule": "cosine"}},
    }
    found = with_overrides(base, given)
    assert found["batch"] == {"size": 4, "max_len": 9}
    assert found["negatives"] == [{"name": "uniform", "num_negatives": 7, "per": "batch"}]
    assert found["train"] == {"epochs": 3, "table": {"optimizer": "sgd", "schedule": "cosine"}}
    # Another part has other options, as when it is named by a key with dots.
    assert with_overrides(base, {"loss": {"name": "bce"}})["loss"] == {"name": "bce"}
    assert with_overrides(base, {"negatives": [{"name": "popularity"}]})["negatives"] == [
        {"name": "popularity"}
    ]


@pytest.mark.parametrize("key", ["model.num_blocks", "loss.rounds"])
def test_a_number_of_parts_that_is_without_end_is_refused(key):
    given = {"loss.name": "rece", key: 10**12}
    with pytest.raises(SpecError, match="1,000,000,000,000") as caught:
        RunSpec.load("sasrec-synthetic", given)
    number = int(caught.value.hint.removeprefix(f"write {key} = ").removesuffix(" or less"))
    RunSpec.load("sasrec-synthetic", {**given, key: number})
