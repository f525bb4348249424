"""Keys that were renamed are refused with their new names."""

import json

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.renamed import with_new_names
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec
from scalelab.studies.grid import expand

BASE = "sasrec-synthetic"


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("loss.form", "sum", "loss.reduction"),
        ("loss.mask_hits", False, "loss.remove_accidental_hits"),
        ("loss.positions", "last", "loss.train_on"),
    ],
)
def test_an_old_key_is_refused_and_the_hint_is_the_new_one(old, value, new, tmp_path):
    """In --set and axes (both are dotted keys), in the TOML of a run and in that of a study."""
    file = tmp_path / "run.toml"
    name = old.partition(".")[2]
    file.write_text(f'[loss]\nname = "bce"\n{name} = {json.dumps(value)}\n[negatives]\n')
    study = StudySpec(name="s", base=BASE, axes={"loss.name": ["bce"], old: [value]})
    for refused in (
        lambda: RunSpec.load(BASE, {"loss.name": "bce", old: value}),
        lambda: RunSpec.load(file),
        lambda: expand(study),
    ):
        with pytest.raises(SpecError, match=f"no option '{name}' any more") as caught:
            refused()
        assert caught.value.hint == f"write {new}"
    assert RunSpec.load(BASE, {"loss.name": "bce", new: value})


def test_the_old_key_of_a_reader_is_refused_and_the_hint_is_the_new_one():
    with pytest.raises(SpecError, match="no option 'form' any more") as caught:
        RunSpec.load(BASE, {"data": {"reader": "sessions", "path": "x", "form": "otto"}})
    assert caught.value.hint == "write data.format"
    new = {"data": {"reader": "sessions", "path": "x", "format": "otto"}}
    assert RunSpec.load(BASE, new).data.options["format"] == "otto"
    assert with_new_names({"data": {"reader": "sessions", "form": "otto"}}) == {
        "data": {"reader": "sessions", "format": "otto"}
    }


def test_an_old_key_is_an_unknown_one_where_the_part_has_no_such_option():
    with pytest.raises(SpecError) as caught:
        RunSpec.load(BASE, {"loss.name": "dense_ce", "loss.form": "sum"})
    assert "reduction" not in caught.value.hint
