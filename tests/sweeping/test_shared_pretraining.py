"""A pre-training that runs share is counted for one of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from scalelab import api
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.studies.forecast import Forecast
from scalelab.studies.grid import Configuration
from scalelab.sweeping.jobs import Job
from scalelab.sweeping.shared_pretraining import counted_once
from scalelab.train.shared_pretraining import shared_folder
from tests.train.conftest import TABLES
from tests.train.pretraining import write_attributes

MODEL = {"name": "s3rec", "hidden_dim": 16, "num_blocks": 1, "pretrain_epochs": 2}


def spec_of(tmp_path: Path, **sections: dict[str, object]) -> RunSpec:
    file = write_attributes(tmp_path / "attributes.json")
    return RunSpec.build(TABLES | {"model": MODEL | {"attributes": str(file)}} | sections)


def job(spec: RunSpec, **changed: object) -> Job:
    facts = {
        "configuration": Configuration(spec=spec, label=spec.loss.name),
        "fingerprint": spec.loss.name,
        "data_fingerprint": "data",
        "attempt": 1,
        "forecast": Forecast(
            total_bytes=1, seconds=20.0, seconds_range=(14.0, 50.0), pretraining_range=(10.0, 14.0)
        ),
        "earlier_outcome": None,
        "skipped_because": None,
    }
    return Job(**(facts | changed))


def ranges(jobs: list[Job]) -> list[tuple[float, float] | None]:
    return [each.forecast.seconds_range for each in jobs if each.forecast is not None]


WHOLE, REST = (14.0, 50.0), (4.0, 36.0)


def test_the_first_that_runs_does_it(tmp_path: Path) -> None:
    first = job(spec_of(tmp_path))
    second = job(spec_of(tmp_path, loss={"name": "dense_ce"}))
    other = job(spec_of(tmp_path, train=TABLES["train"] | {"seed": 1}))
    known: set[Path] = set()
    found = counted_once([first, second, other], tmp_path, known)
    assert ranges(found) == [WHOLE, REST, WHOLE]
    assert found[1].forecast.seconds == pytest.approx(12.0)
    # A later round of the same sweep, and one that does not run at all.
    third = job(spec_of(tmp_path, loss={"name": "bce"}))
    assert ranges(counted_once([third], tmp_path, known)) == [REST]
    skipped = replace(first, skipped_because="too large")
    before = replace(first, earlier_outcome=Outcome.DONE)
    assert ranges(counted_once([skipped, before, second], tmp_path, set())) == [WHOLE] * 3


def test_what_an_earlier_sweep_has_left_is_not_done_again(tmp_path: Path) -> None:
    one = job(spec_of(tmp_path))
    folder = shared_folder(one.configuration.spec, "data", tmp_path / one.fingerprint)
    assert folder is not None
    folder.mkdir()
    assert ranges(counted_once([one], tmp_path, set())) == [REST]


@pytest.mark.slow
def test_a_dry_run_adds_it_up_once(tmp_path: Path) -> None:
    file = write_attributes(tmp_path / "attributes.json")
    sections = TABLES | {"model": MODEL | {"attributes": str(file)}}
    (tmp_path / "run.toml").write_text(tomli_w.dumps(sections))
    losses = {"loss.name": ["cross_entropy", "dense_ce"]}
    study = {"base": str(tmp_path / "run.toml"), "axes": losses}
    result = api.sweep(study, ledger=tmp_path / "a.duckdb", dry_run=True)
    planned = api.plan(study)
    pretraining = [one["seconds"]["pretraining"] for one in planned]
    assert pretraining[0] == pretraining[1]
    whole = sum(one["seconds"]["run"]["low"] for one in planned)
    total = sum(cell.predicted_range_s[0] for cell in result.cells)
    assert total == pytest.approx(whole - pretraining[0]["low"])
