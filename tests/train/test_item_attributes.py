"""A file of item attributes is found beside the data, read, and refused in one clear line."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab.core.errors import DataError, ScalelabError, SpecError
from scalelab.core.item_attributes import attributes_digest, find_attributes
from scalelab.datasets.interactions import Interactions
from scalelab.train.item_attributes import load_attributes

CONTENT = {"b": ["red", "soap"], "a": [7], "x": ["red", 7, "red"], "c": []}


def written(folder: Path, content: Any, name: str = "attributes.json") -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def interactions(ids: list[str] | None) -> Interactions:
    return Interactions(
        item_ids=np.array([1, 2, 3], np.int32),
        offsets=np.array([0, 3]),
        times=None,
        num_items=3,
        time_is_order=True,
        fingerprint="",
        dropped={},
        find_original_ids=None if ids is None else lambda: np.array(ids),
    )


@pytest.mark.parametrize("name", ["attributes.json", "attributes.json.gz"])
def test_each_item_gets_its_attributes_by_its_own_id(tmp_path: Path, name: str) -> None:
    attributes = load_attributes(written(tmp_path, CONTENT, name))
    assert (attributes.num_attributes, attributes.most) == (3, 2)
    found = attributes.of(interactions(["a", "b", "d"]))
    # 7 comes before red, red before soap; padding, a, b, d.
    assert found.own_lists.tolist() == [[0, 0], [1, 0], [2, 3], [0, 0]]
    assert (found.num_unknown, found.num_without) == (2, 1)


def test_ids_that_are_numbers_count_as_text(tmp_path: Path) -> None:
    attributes = load_attributes(written(tmp_path, {"1": [5], "3": [6]}))
    assert attributes.of(interactions(None)).own_lists.tolist() == [[0], [1], [0], [2]]


BAD = {
    "no JSON": ("{", "is not JSON"),
    "a list": ([["a", "b"]], "no object with an entry per item"),
    "no list": ({"a": "red"}, "the attributes of item 'a' are \"red\", not a list"),
    "nested": ({"a": [["red"]]}, "the attributes of item 'a' are"),
    "no number": ({"a": [1.5]}, "the attributes of item 'a' are"),
    "no attribute": ({"a": [], "b": []}, "gives no item an attribute"),
    "empty": ({}, "gives no item an attribute"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_malformed_file_is_one_clear_line(tmp_path: Path, what: str) -> None:
    content, message = BAD[what]
    with pytest.raises(DataError) as caught:
        load_attributes(written(tmp_path, content))
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint.startswith("write ")


def test_a_damaged_archive_is_one_clear_line(tmp_path: Path) -> None:
    file = written(tmp_path, CONTENT, "attributes.json.gz")
    file.write_bytes(file.read_bytes()[:-9])
    for read in (load_attributes, attributes_digest):
        with pytest.raises(ScalelabError, match="cannot read"):
            read(file)


def test_a_file_of_another_data_set_is_refused(tmp_path: Path) -> None:
    attributes = load_attributes(written(tmp_path, {"17": [1]}))
    with pytest.raises(DataError, match=r"knows no item of the data set: its items are '17'"):
        attributes.of(interactions(["a", "b", "c"]))


def test_the_file_is_found_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "all" / "beauty"
    data.mkdir(parents=True)
    file = written(data, CONTENT)
    (data / "interactions.parquet").touch()
    for path in (data, data / "interactions.parquet", data / "*.parquet"):
        assert find_attributes(str(path), "attributes.json") == file
    monkeypatch.setenv("SCALELAB_DATA", str(tmp_path / "all"))
    assert find_attributes("beauty", "attributes.json") == file
    assert find_attributes(None, str(file)) == file
    with pytest.raises(SpecError, match=r"no file of item attributes 'other.json'; searched "):
        find_attributes("beauty", "other.json")


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    plain = written(tmp_path, CONTENT)
    packed = written(tmp_path, CONTENT, "attributes.json.gz")
    assert attributes_digest(plain) == attributes_digest(packed)
    before = attributes_digest(plain)
    written(tmp_path, CONTENT | {"a": [8]})
    assert attributes_digest(plain) != before
