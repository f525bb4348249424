"""Names of files and folders are names first: patterns only where nothing is called so."""

import errno
import gzip
import shutil
from pathlib import Path

import duckdb
import pytest

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.datasets.load import load
from scalelab.datasets.locate import locate
from scalelab.datasets.request import request

NAMES = [
    "rows[1]", "rows*", "rows?", "**", "user=me", "user=me/ts=3", "word:rows", "memory:", "~",
    "~nobody", "~root", "it's", 'say "so"', "a;b", "a b", "-rows", "{1,2}", "$HOME", "%41",
    "..rows", "http:", "s3:/bucket", "n" * 240, "x" * 200 + "/" + "y" * 200, "\u00e9\u4e2d", "a\nb",
    "#1",
]  # fmt: skip


SUFFIXES = ["csv", "csv.gz", "parquet", "jsonl", "inter", "dat", "txt"]
# A pattern to those who take it for one.
TELLING = "rows[1]"


def _named() -> list:
    """Every name with every ending; one ending of all names and all of one name are fast."""
    return [
        pytest.param(
            name, suffix, marks=() if suffix == "csv" or name == TELLING else pytest.mark.slow
        )
        for name in NAMES
        for suffix in SUFFIXES
    ]


@pytest.mark.parametrize(("name", "suffix"), _named())
def test_a_file_is_called_as_it_is_called(tmp_path, monkeypatch, name, suffix):
    monkeypatch.chdir(tmp_path)
    path = f"{name}.{suffix}"
    write(tmp_path / path, suffix, item=5)
    # What a pattern of that name would find as well.
    write(tmp_path / f"rows1.{suffix}", suffix, item=9)
    for other in ("rowsx", "1", "2"):
        shutil.copy(tmp_path / f"rows1.{suffix}", tmp_path / f"{other}.{suffix}")
    for given in (path, str(tmp_path / path)):
        found = request(given, None, {}).load()
        assert found.num_interactions == 1
        assert found.find_original_ids is not None
        assert found.find_original_ids().tolist() == [5]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_parts_is_called_as_it_is_called(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for part in range(2):
        write(tmp_path / name / f"part-{part}.csv", "csv", item=5 + part)
    assert load(DataSpec(path=name)).num_interactions == 2


def write(path, suffix, item):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "inter": f"user_id:token\titem_id:token\ttimestamp:float\n1\t{item}\t3\n",
        "dat": f"1::{item}::4::3\n",
        "txt": f"1 {item}\n",
        "jsonl": f'{{"user": 1, "item": {item}, "ts": 3}}\n',
    }.get(suffix, f"user,item,ts\n1,{item},3\n")
    if suffix == "parquet":
        plain = Path("plain.parquet")
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT 1 AS user, {item} AS item, 3 AS ts) TO '{plain}'")
        plain.replace(path)
    elif suffix.endswith("gz"):
        path.write_bytes(gzip.compress(rows.encode()))
    else:
        path.write_text(rows)


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + "/b.csv", "b" * 5000, "x\0y.csv", ""])
def test_what_no_file_can_be_called_is_one_clear_line(name):
    with pytest.raises(DataError) as caught:
        load(DataSpec(path=name))
    assert caught.value.hint


def test_a_pattern_finds_its_parts_where_nothing_is_called_so(tmp_path):
    for part in range(3):
        write(tmp_path / f"part-{part}.csv", "csv", item=5 + part)
    (tmp_path / "part-x.json").write_text("{}")
    assert [p.name for p in locate(str(tmp_path / "part-[01].csv")).parts] == [
        "part-0.csv",
        "part-1.csv",
    ]
    with pytest.raises(DataError, match="several formats"):
        locate(str(tmp_path / "part-*"))


def test_a_path_that_may_not_be_read_is_said(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.exists", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        locate(str(tmp_path / "rows.csv"))


def test_a_name_that_is_not_there_is_answered_with_the_nearest_and_a_list(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_DATA", str(tmp_path))
    (tmp_path / "amazon-beauty").mkdir()
    (tmp_path / "clicks.csv").write_text("user,item,time\n")
    (tmp_path / "README.md").write_text("about")
    with pytest.raises(DataError) as caught:
        locate("amazon-beuty")
    assert caught.value.hint == (
        "did you mean 'amazon-beauty'?; in SCALELAB_DATA there are: amazon-beauty, clicks.csv"
    )
