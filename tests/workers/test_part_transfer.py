"""Files of parts travel to a node that does not have them, and nothing of them is stored twice."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.initial_row import new_row
from scalelab.core.spec import RunSpec
from scalelab.workers.part_transfer import as_sent, pack_parts, unpack_parts

LOSS = """
from dataclasses import dataclass
from typing import ClassVar

from transfer_helper import factor


@dataclass(frozen=True)
class Mine:
    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND, item_table_VD, batch):
        return factor * hidden_ND.sum()
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    (tmp_path / "driver").mkdir()
    (tmp_path / "node").mkdir()
    (tmp_path / "driver" / "mine.py").write_text(LOSS)
    (tmp_path / "driver" / "transfer_helper.py").write_text("factor = 3\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    loss = f"{tmp_path / 'driver' / 'mine.py'}:Mine"
    return RunSpec.load("sasrec-synthetic", {"loss.name": loss, "device.name": "cpu"})


def test_a_node_without_the_file_runs_the_same_loss(spec: RunSpec, tmp_path: Path) -> None:
    packed = pack_parts(spec)
    shutil.rmtree(tmp_path / "driver")
    with pytest.raises(SpecError, match="no file"):
        spec.check_sources()
    there = unpack_parts(spec, packed)
    there.check_sources()
    assert there.fingerprint("d") == spec.fingerprint("d")
    assert there.loss.name.startswith(str(tmp_path / "node"))
    assert plugins.made("losses", there.loss.name)
    row = as_sent(new_row(there, run_id="r", study_id=None, attempt=1), spec)
    assert row.spec == spec.as_json()
    assert json.loads(row.origin)["loss"]["file"] == str(tmp_path / "driver" / "mine.py")


def test_a_node_with_the_file_uses_its_own(spec: RunSpec) -> None:
    assert unpack_parts(spec, pack_parts(spec)) == spec


def test_a_node_with_another_file_of_that_name_uses_what_was_sent(
    spec: RunSpec, tmp_path: Path
) -> None:
    packed = pack_parts(spec)
    helper = tmp_path / "driver" / "transfer_helper.py"
    helper.write_text("factor = 4\n")
    with pytest.raises(SpecError, match="not what it was"):
        spec.check_sources()
    unpack_parts(spec, packed).check_sources()
