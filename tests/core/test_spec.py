"""Specs: the unknown is refused with the nearest name; equal runs have equal fingerprints."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.errors import SpecError
from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.presets import preset_names
from scalelab.core.spec import RunSpec, with_overrides
from scalelab.core.study import StudySpec
from scalelab.core.toml_sections import parse_set

BASE = "sasrec-synthetic"


@pytest.mark.parametrize("name", preset_names("runs"))
def test_every_preset_works_with_every_loss_that_needs_no_extra(name: str) -> None:
    for loss in ("dense_ce", "cross_entropy", "bce", "sampled_softmax"):
        spec = RunSpec.load(name, {"loss.name": loss})
        assert RunSpec.build(spec.as_sections()) == spec


@pytest.mark.parametrize("name", preset_names("studies"))
def test_every_study_loads(name: str) -> None:
    assert StudySpec.load(name).name == name


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("batch.sise", 4, "unknown key 'batch.sise'", "size"),
        ("batch.size", "many", "batch.size = 'many'", ""),
        ("batch.size", 0, "batch.size = 0", ""),
        ("bach.size", 4, "no section 'bach'", "batch"),
        ("model.hiden_dim", 4, "no option 'hiden_dim'", "hidden_dim"),
        ("model.hidden_dim", "wide", "hidden_dim = 'wide'", ""),
        ("model.name", "sasrek", "no model called 'sasrek'", "sasrec"),
        ("loss.name", "cross_entropi", "no loss called 'cross_entropi'", "cross_entropy"),
        ("loss.trainon", "last", "no option 'trainon'", "train_on"),
        ("loss.train_on", "first", "loss.train_on = 'first'", ""),
        ("negatives.name", "unifrom", "called 'unifrom'", "uniform"),
        ("train.optimizer", "adamm", "train.optimizer = 'adamm'", ""),
        ("device.name", "gpu", "device.name = 'gpu'", ""),
        ("data.reader", "tabel", "no reader called 'tabel'", "table"),
        ("batch.packer", "pad_right", "no packer called 'pad_right'", "pad_left"),
    ],
)
def test_a_mistake_is_named_with_what_was_meant(
    key: str, value: object, message: str, hint: str
) -> None:
    overrides = {"loss.name": "bce"} if key.startswith("negatives") else {}
    with pytest.raises(SpecError) as caught:
        RunSpec.load(BASE, overrides | {key: value})
    assert message in caught.value.message
    assert "\n" not in str(caught.value)
    assert hint in caught.value.hint


def test_a_profile_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(
        SpecError, match="no run profile and no file called 'sasrec-sinthetic'"
    ) as caught:
        RunSpec.load("sasrec-sinthetic")
    assert "sasrec-synthetic" in caught.value.hint


def test_broken_toml_tells_the_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[batch]\nsize = "unclosed\n')
    with pytest.raises(SpecError, match="line 2"):
        RunSpec.load(path)


def test_another_loss_drops_the_options_of_the_old_one() -> None:
    spec = RunSpec.load(BASE, {"loss.name": "rece", "loss.rounds": 2})
    assert spec.with_({"loss.name": "cross_entropy"}).loss.name == "cross_entropy"


def test_a_table_without_keys_changes_nothing_but_its_name_is_checked() -> None:
    nothing = {"loss": {}, "train": {"table": {}}, "negatives": {}}
    assert RunSpec.load("sasrec-synthetic", nothing) == RunSpec.load("sasrec-synthetic")
    for wrong in ({"los": {}}, {"train": {"tabel": {}}}):
        with pytest.raises(SpecError, match=r"los|tabel"):
            RunSpec.load("sasrec-synthetic", wrong)


def test_the_order_of_overrides_does_not_matter() -> None:
    one = RunSpec.load(BASE, {"loss.rounds": 2, "loss.name": "rece"})
    assert one == RunSpec.load(BASE, {"loss.name": "rece", "loss.rounds": 2})


def test_negatives_that_a_loss_does_not_take_change_no_fingerprint() -> None:
    one, two = (
        RunSpec.load(BASE, {"negatives.num_negatives": k, "device.name": "cpu"}) for k in (4, 5)
    )
    assert one.fingerprint("data") == two.fingerprint("data")
    one, two = (
        s.with_({"loss.name": "bce", "negatives": [{"num_negatives": k}]})
        for s, k in ((one, 4), (two, 5))
    )
    assert one.fingerprint("data") != two.fingerprint("data")


def test_a_loss_without_its_negatives_is_refused() -> None:
    with pytest.raises(SpecError, match="needs negatives"):
        RunSpec.load(BASE, {"negatives": [], "loss.name": "bce"})


def test_the_path_of_the_data_changes_no_fingerprint_but_the_data_do() -> None:
    here, there = (
        RunSpec.load("sasrec-beauty", {"data.path": p, "device.name": "cpu"})
        for p in ("a/x.parquet", "b/y.parquet")
    )
    assert here.fingerprint("same") == there.fingerprint("same")
    assert here.fingerprint("same") != there.fingerprint("other")


@pytest.mark.parametrize("key", ["train.seed", "batch.size", "model.dropout", "train.precision"])
def test_what_changes_numbers_changes_the_fingerprint(key: str) -> None:
    values = {"train.seed": 9, "batch.size": 9, "model.dropout": 0.9, "train.precision": "bf16"}
    base = RunSpec.load(BASE, {"device.name": "cpu"})
    assert base.with_({key: values[key]}).fingerprint("d") != base.fingerprint("d")


def test_one_fingerprint_whichever_gpu_it_was() -> None:
    prints = {
        name: RunSpec.load(BASE, {"device.name": name}).fingerprint("d")
        for name in ("cpu", "cuda", "cuda:0", "cuda:1")
    }
    assert prints["cuda"] == prints["cuda:0"] == prints["cuda:1"] != prints["cpu"]


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_ledgers_of_before_know_their_runs_again(name: str) -> None:
    spec = RunSpec.load(BASE, {"device.name": name})
    tables = spec.as_sections() | {"data_fingerprint": "d", "results_version": RESULTS_VERSION}
    del tables["data"]["path"], tables["data"]["name"], tables["data"]["recent_days"]
    text = json.dumps(tables, sort_keys=True)
    assert spec.fingerprint("d") == hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def test_a_device_that_is_not_decided_has_no_fingerprint() -> None:
    with pytest.raises(AssertionError, match="auto"):
        RunSpec.load(BASE, {"device.name": "auto"}).fingerprint("d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch.size=256", ("batch.size", 256)),
        ("loss.name=rece", ("loss.name", "rece")),
        ("loss.name='rece'", ("loss.name", "rece")),
        ("data.path=a/b=c.csv", ("data.path", "a/b=c.csv")),
        ("model.dropout = 0.5", ("model.dropout", 0.5)),
        ("train.compile=true", ("train.compile", True)),
    ],
)
def test_set_takes_toml_values_and_bare_words(text: str, expected: tuple[str, object]) -> None:
    assert parse_set(text) == expected


@pytest.mark.parametrize("text", ["batch.size", "=3", ""])
def test_set_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="KEY=VALUE"):
        parse_set(text)


@given(
    st.dictionaries(
        st.sampled_from(["batch.size", "batch.max_len", "train.epochs"]), st.integers(1, 500)
    )
)
def test_overrides_are_where_they_were_put(overrides: dict[str, int]) -> None:
    tables = with_overrides({"batch": {"size": 1}}, overrides)
    for key, value in overrides.items():
        table, name = key.split(".")
        assert tables[table][name] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "sasrec-synthetic"\naxis = 3', "unknown key 'axis'"),
        ("axes = {}", "'base' is missing"),
        ('base = "nothing-like-it"', "nothing-like-it"),
        ('base = "sasrec-synthetic"\nrepeats = 0', "repeats = 0"),
        ('base = "sasrec-synthetic"\ncharts = ["paretto"]', "no chart called 'paretto'"),
    ],
)
def test_a_study_with_a_mistake_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        StudySpec.load(path)
    assert message in caught.value.message


def test_a_base_may_lie_beside_its_study(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[data]\nreader = "synthetic"\n')
    (tmp_path / "study.toml").write_text('base = "mine.toml"\n')
    study = StudySpec.load(tmp_path)
    assert study.name == tmp_path.name
    assert RunSpec.load(study.base).data.reader == "synthetic"
