"""A run and a study are told apart by `base`, however they are given."""

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.given import run_of, run_or_study_of, study_of
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec

RUN = {"data.reader": "synthetic", "data.num_items": 100, "loss": {"name": "cross_entropy"}}
STUDY = {"base": "sasrec-synthetic", "axes": {"loss.name": ["cross_entropy", "dense_ce"]}}


def test_sections_and_dotted_keys_mix_and_overrides_win():
    run = run_of(RUN, {"loss.name": "dense_ce"})
    assert (run.data.num_items, run.loss.name) == (100, "dense_ce")
    assert run_of(run, {}) is run
    assert run_of(run, {"data.num_items": 7}).data.num_items == 7


def test_a_dict_with_a_base_is_a_study_and_never_a_run():
    assert isinstance(run_or_study_of(STUDY, {}), StudySpec)
    assert isinstance(run_or_study_of(RUN, {}), RunSpec)
    assert study_of(STUDY).name == "study"
    assert study_of(STUDY | {"name": "mine"}).name == "mine"
    with pytest.raises(SpecError, match="is a study, not a run"):
        run_of(STUDY, {})


def test_a_preset_of_runs_comes_before_a_file_and_a_file_before_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sasrec-synthetic").write_text('base = "sasrec-synthetic"\n')
    (tmp_path / "mine.toml").write_text('base = "sasrec-synthetic"\n')
    assert isinstance(run_or_study_of("sasrec-synthetic", {}), RunSpec)
    assert isinstance(run_or_study_of("mine.toml", {}), StudySpec)
    with pytest.raises(SpecError, match="no run profile, no study and no file") as caught:
        run_or_study_of("sasrec-sintetic", {})
    assert "sasrec-synthetic" in caught.value.hint
