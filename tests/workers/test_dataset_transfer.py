"""A data set travels whole: a file, a folder of parts, a pattern of parts, a compact form."""

import pytest

from scalelab.core.spec import DataSpec
from scalelab.datasets.convert import convert
from scalelab.datasets.load import Dataset, load
from scalelab.workers.dataset_transfer import pack, unpack


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
