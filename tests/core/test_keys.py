import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.json_schema import run_schema, study_schema
from scalelab.core.keys import find_keys, list_keys
from scalelab.core.option_types import allowed, meaning_of
from scalelab.core.parts import list_kind
from scalelab.core.presets import find_preset, preset_names
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec
from scalelab.core.toml_sections import checked


def test_every_key_says_what_it_means_and_allows():
    for key in list_keys():
        assert key.meaning, key
        assert key.allowed not in ("", "a value"), key


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_option_of_every_part_says_what_it_means(kind):
    for part in list_kind(kind):
        for option in part.options:
            assert option.meaning, f"{part.name}.{option.name}"


@pytest.mark.parametrize("kind", ["models", "losses", "packers", "negatives", "readers", "probes"])
def test_options_read_from_the_source_are_those_of_the_class(kind):
    for part in list_kind(kind):
        if part.name in ("cut_ce", "liger_ce"):
            continue  # their packages are not installed everywhere
        real = plugins.options(kind, part.name)
        assert [option.name for option in part.options] == list(real)
        for option in part.options:
            annotation = real[option.name].annotation
            assert option.allowed == allowed(annotation), f"{part.name}.{option.name}"
            assert option.meaning.lower() == meaning_of(annotation).lower()


def test_the_keys_of_a_run_are_those_that_its_spec_takes():
    names = {key.key for key in list_keys() if key.place == "run" and not key.parts}
    tables = RunSpec.build({}).as_sections()
    plain = {f"{table}.{key}" for table, inner in tables.items() if isinstance(inner, dict)
             for key in inner if table != "sources"}  # fmt: skip
    options = {key.key for key in list_keys() if key.parts}
    assert plain <= names | options
    assert {"batch.size", "train.seed", "negatives.num_negatives", "device.threads"} <= names


@pytest.mark.slow
def test_listing_keys_imports_no_torch():
    code = "import sys, scalelab; scalelab.keys(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_keys_that_parts_share_are_one_row():
    rows = list_keys("loss.remove_accidental_hits")
    assert len(rows) == 1
    assert {"bce", "sampled_softmax"} <= set(rows[0].parts)
    # The same name with another meaning is another row.
    assert len(list_keys("loss.n_buckets")) == 2


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("data.ties", "fil", "data.ties = 'fil' is not allowed", "did you mean 'file'?"),
        ("batch.size", 0, "batch.size = 0 is not allowed", "a whole number, 1 to 2,147,483,647"),
        ("batch.max_len", 2**31, "batch.max_len = 2147483648 is", "a whole number, 1 to 2,147"),
        ("train.epochs", True, "write a number", "keys train.epochs"),
        ("negatives.reject", 10**20, "write a whole number up to", "keys negatives.reject"),
        ("data.quantile", 2, "data.quantile = 2 is not allowed", "above 0 and below 1"),
        ("batch.size", 10**20, "write a whole number up to 9223372036854775807", "keys batch.size"),
        ("train.seed", 2**63, "write a whole number up to 9223372036854775807", "keys train.seed"),
        ("train.epochs", 10**30, "write a whole number up to", "keys train.epochs"),
        ("train.learning_rate", float("inf"), "write a finite number", "keys train.learning_rate"),
        ("batch.sise", 1, "unknown key 'batch.sise'", "did you mean 'batch.size'?"),
        ("train.epochs", "many", "train.epochs = 'many'", "allowed: a whole number, at least 1"),
        ("negatives.per", "batches", "negatives.0.per = 'batches'", "did you mean 'batch'?"),
        ("model.norm", "prae", "sasrec: norm = 'prae' is not allowed", "did you mean 'pre'?"),
        ("model.dropout", 1.5, "sasrec: dropout = 1.5", "at least 0 and below 1"),
        ("loss.kernel", "fusd", "cross_entropy: kernel = 'fusd'", "did you mean 'fused'?"),
        ("loss.tile_mib", float("inf"), "cross_entropy: tile_mib = inf", "write a finite number"),
        ("model.hidden_dim", 10**20, "sasrec: hidden_dim = 1000", "write a whole number up to"),
        ("model.num_blocks", True, "sasrec: num_blocks = True is not allowed", "write a number"),
        ("loss.tile_mib", -1, "cross_entropy: tile_mib = -1", "allowed: auto or a number, above 0"),
    ],
)
def test_a_refused_value_is_told_what_is_allowed(key, value, message, hint):
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        RunSpec.load("sasrec-synthetic", {key: value})
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("tables", "message", "hint"),
    [
        ({"search": {"sampler": "tpee"}}, "search.sampler = 'tpee'", "did you mean 'tpe'?"),
        ({"search": {"objectives": ["qualty"]}}, "objectives.0", "did you mean 'quality'?"),
        ({"final": {"seed": 2}}, "unknown key 'final.seed'", "did you mean 'final.seeds'?"),
        ({"budgets": {}}, "unknown key 'budgets'", "did you mean 'budget'?"),
        ({"repeats": 0}, "repeats = 0 is not allowed", "allowed: a whole number, at least 1"),
    ],
)
def test_a_refused_key_of_a_study_is_told_what_is_allowed(tables, message, hint):
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        checked(StudySpec, {"name": "a", "base": "b", **tables}, "study.toml")
    assert hint in caught.value.hint


@pytest.mark.parametrize("kind", ["runs", "studies"])
def test_every_preset_follows_its_schema(kind):
    schema = run_schema() if kind == "runs" else study_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in preset_names(kind):
        tables = tomllib.loads(find_preset(kind, name).read_text(encoding="utf-8"))
        assert not [error.message for error in validator.iter_errors(tables)], name


@pytest.mark.parametrize(
    ("schema", "tables", "told"),
    [
        (run_schema, {"loss": {"name": "rece", "roundz": 1}}, "roundz"),
        (run_schema, {"loss": {"name": "rece", "rounds": "x"}}, "'x' is not of type"),
        (run_schema, {"batch": {"size": 0}}, "0"),
        (run_schema, {"negatives": [{"per": "batches"}]}, "batches"),
        (run_schema, {"evaluate": {"k": []}}, "[]"),
        (run_schema, {"evaluate": {"k": [5, 0]}}, "0"),
        (study_schema, {"base": "b", "axes": {"batch.size": [0]}}, "0"),
        (study_schema, {"base": "b", "cells": [{"batch.size": [32, 0]}]}, "0"),
        (study_schema, {"base": "b", "cells": [{"batch.size": []}]}, "[]"),
        (study_schema, {"axes": {}}, "'base' is a required property"),
    ],
)
def test_a_schema_refuses_what_scalelab_refuses(schema, tables, told):
    found = jsonschema.Draft202012Validator(schema()).iter_errors(tables)
    assert any(told in json.dumps(str(error)) for error in found)


def test_a_part_from_elsewhere_is_no_fault_for_the_schema():
    validator = jsonschema.Draft202012Validator(run_schema())
    assert not list(validator.iter_errors({"loss": {"name": "./mine.py:Mine", "strength": 2}}))


def test_the_schema_is_written_where_it_is_wanted(tmp_path: Path):
    import scalelab

    scalelab.schema("run", out=tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text()) == run_schema()
    with pytest.raises(SpecError, match="cannot write"):
        scalelab.schema("run", out=tmp_path / "missing" / "run.json")
    with pytest.raises(SpecError, match="no schema of 'runs'"):
        scalelab.schema("runs")


def test_a_key_is_found_by_its_last_part_and_a_wrong_one_is_refused():
    assert [key.key for key in find_keys("train.epochs")] == ["train.epochs"]
    assert [key.key for key in find_keys("epochs")] == ["train.epochs", "halving.epochs"]
    assert find_keys("") == list_keys()
    with pytest.raises(SpecError, match="no key begins with 'bach'") as refused:
        find_keys("bach")
    assert refused.value.hint == "did you mean 'batch'?"
