"""A data set travels whole: a file, a folder of parts, a pattern of parts, a compact format."""

import os
import stat
from pathlib import Path

import pytest

from scalelab.core.item_attributes import find_attributes
from scalelab.core.spec import DataSpec
from scalelab.datasets.convert import convert
from scalelab.datasets.load import Dataset, load
from scalelab.workers.dataset_transfer import DatasetTransfer, pack, unpack


@pytest.mark.parametrize("place", ["set/0.csv", "set", "set/*.csv", "compact"])
def test_what_is_unpacked_is_what_was_packed(tmp_path, monkeypatch, place):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there"))
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for part in range(2):
        rows = "".join(f"{u},{part}{u % 3},{u}\n" for u in range(4))
        (tmp_path / "here" / "set" / f"{part}.csv").write_text(f"user,item,ts\n{rows}")
    convert(Dataset(DataSpec(path="set")), tmp_path / "here" / "compact")
    data = DataSpec(path=place)
    before = load(data)
    transfer = pack(data, place.replace("/", "-").replace("*", "all"))
    assert transfer is not None
    (tmp_path / "there" / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "there" / "empty")
    after = load(unpack(data, lambda: transfer))
    assert after.item_ids.tolist() == before.item_ids.tolist()
    assert after.fingerprint == before.fingerprint


def test_a_file_of_item_attributes_goes_along(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "here" / "set"
    folder.mkdir(parents=True)
    (folder / "clicks.csv").write_text("user,item,ts\n1,2,3\n")
    (folder / "attributes.json").write_text('{"2": ["red"]}')
    monkeypatch.chdir(tmp_path / "here")
    data = DataSpec(path="set/clicks.csv")
    transfer = pack(data, "k", find_attributes(data.path, "attributes.json"))
    assert transfer is not None
    monkeypatch.chdir(tmp_path)
    received = unpack(data, lambda: transfer)
    found = find_attributes(received.path, "attributes.json")
    assert found.is_relative_to(Path(received.path).parent)
    assert found.read_text() == '{"2": ["red"]}'


@pytest.fixture
def shared_tmp(tmp_path, monkeypatch):
    """A folder for temporary files that other users can write too."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("before", ["nothing", "open to all", "a link", "of another user"])
def test_received_files_lie_in_a_folder_of_the_users_own(shared_tmp, tmp_path, monkeypatch, before):
    usual = shared_tmp / f"scalelab-{os.getuid()}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if before == "open to all":
        usual.mkdir()
        usual.chmod(0o777)
    elif before == "a link":
        usual.symlink_to(elsewhere, target_is_directory=True)
    elif before == "of another user":
        if os.getuid() != 0:
            pytest.skip("only root can give a folder away")
        usual.mkdir(mode=0o700)
        os.chown(usual, 12345, 12345)
    monkeypatch.chdir(tmp_path)
    sent = DatasetTransfer(
        key="k", entry="set/0.csv", files={"set/0.csv": b"user,item,ts\n1,2,3\n"}
    )
    received = Path(unpack(DataSpec(path="nowhere/0.csv"), lambda: sent).path)
    assert received.read_bytes() == b"user,item,ts\n1,2,3\n"
    top = shared_tmp / received.relative_to(shared_tmp).parts[0]
    assert not top.is_symlink()
    assert top.stat().st_uid == os.getuid()
    assert stat.S_IMODE(top.stat().st_mode) == 0o700
    assert list(elsewhere.iterdir()) == []
    assert (top == usual) is (before == "nothing")
