"""Files that unpack to an absurd line or size are refused in bounded memory."""

import gzip
import json
import subprocess
import sys

import duckdb
import numpy as np
import pytest

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.datasets.load import load
from scalelab.datasets.request import request

ROW = "1,2,1600000000\n"
# Loads a data set with so much address space, and says what came of it.
CHILD = """
import json, resource, sys
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from scalelab.core.errors import DataError
from scalelab.datasets.request import request
try:
    request(sys.argv[1], None, {}).load()
    message = ""
except DataError as error:
    message = error.message
# Not ru_maxrss: a child starts with that of the process that it was forked from.
[high] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
peak = int(high.split()[1]) * 1024
print(json.dumps({"message": message, "peak_bytes": peak}))
"""


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr("scalelab.datasets.readers._sizes._HARMLESS", 1 << 20)


def packed(path, text, encoding="utf-8"):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode(encoding)))
        return path
    plain = path.with_suffix("")
    plain.write_text(text)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{plain}', all_varchar = true)) TO '{path}' "
            "(FORMAT csv, COMPRESSION zstd)"
        )
    plain.unlink()
    return path


@pytest.mark.parametrize(
    ("name", "reader", "head", "row"),
    [
        ("a.csv.gz", "table", "user,item,ts\n", ROW),
        ("a.csv.zst", "table", "user,item,ts\n", ROW),
        ("a.jsonl.gz", "table", "", '{"user": 1, "item": 2, "ts": 3}\n'),
        ("a.txt.gz", "lines", "", "1 2 3\n"),
        ("a.txt.gz", "sequences", "", "1 2 3\n"),
        ("a.inter.gz", "recbole", "user_id:token\titem_id:token\ttimestamp:float\n", "1\t2\t3\n"),
        ("a.dat.gz", "movielens", "", "1::2::3::4\n"),
    ],
)
def test_a_file_that_unpacks_to_an_absurd_size_is_refused(
    tmp_path, small_limits, name, reader, head, row
):
    path = packed(tmp_path / name, head + row * (6 << 20 >> 3))
    with pytest.raises(DataError, match="unpacks to more than") as caught:
        load(DataSpec(reader=reader, path=str(path)))
    assert str(path) in caught.value.message


def test_a_parquet_file_that_says_it_holds_absurdly_many_rows_is_refused(tmp_path, small_limits):
    path = tmp_path / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT 1 AS user, 2 AS item, 3 AS ts FROM range(2000000)) TO '{path}'"
        )
    with pytest.raises(DataError, match="unpacks to more than"):
        load(DataSpec(path=str(path)))


def test_text_in_another_encoding_is_not_unpacked_without_end(tmp_path, small_limits):
    path = packed(tmp_path / "a.csv.gz", "user,item,ts\n" + ROW * 2_000_000, "utf-16")
    with pytest.raises(DataError, match="unpacks to more than"):
        load(DataSpec(path=str(path), encoding="utf-16"))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_log_is_read(tmp_path, small_limits, suffix):
    items = np.random.default_rng(0).integers(0, 50, 100_000)
    rows = "".join(f"{n // 20},{item},{n}\n" for n, item in enumerate(items))
    path = packed(tmp_path / f"a.csv{suffix}", "user,item,ts\n" + rows)
    assert load(DataSpec(path=str(path))).num_interactions == 100_000


@pytest.mark.parametrize("size", [30 << 20, pytest.param(130 << 20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "inter", "txt", "jsonl", "json"])
def test_an_endless_last_line_is_never_dropped(tmp_path, suffix, size):
    """DuckDB drops it without a word where it exceeds its buffer."""
    path = tmp_path / f"a.{suffix}"
    head = {
        "inter": "user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n4\t5\t",
        "txt": "1 2 3\n2 4",
        "jsonl": '{"user": 1, "item": 2, "ts": 3}\n{"user": "',
        "json": '{"user": 1, "item": 2, "ts": 3}\n{"user": "',
    }.get(suffix, "user,item,ts\n1,2,3\n4,5")
    text = head.encode() + b"a" * size
    path.write_bytes(gzip.compress(text, 1) if suffix.endswith("gz") else text)
    with pytest.raises(DataError):
        request(path, None, {}).load()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["line.csv.gz", "line.txt.gz", "line.jsonl.gz", "rows.csv.gz"])
def test_what_is_absurd_is_refused_in_bounded_memory(tmp_path, name):
    path = tmp_path / name
    block = (ROW if name.startswith("rows") else "a" * len(ROW)) * (1 << 20)
    member = gzip.compress(block.encode())
    with path.open("wb") as file:
        file.write(gzip.compress(b"user,item,ts\n" if name.endswith("csv.gz") else b"1 2 3\n1 2"))
        for _ in range(80):  # 1.2 GiB, packed into as many megabytes
            file.write(member)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(4 << 30)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["message"]
    assert found["peak_bytes"] < 1 << 30
