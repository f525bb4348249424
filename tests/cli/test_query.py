import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

SQL = "SELECT loss, outcome, count(*) AS n FROM runs GROUP BY ALL ORDER BY outcome"


def test_a_table_shows_names_and_values(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, SQL)
    assert done.code == 0
    words = done.out.split()
    for word in ("loss", "outcome", "n", "bce", "done", "failed", "2", "1"):
        assert word in words


def test_csv_and_json_hold_the_same_rows(scalelab: Callable, ledger: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(scalelab("query", ledger, SQL, "--format", "csv").out)))
    document = scalelab("query", ledger, SQL, "--format", "json").document
    assert document == scalelab("query", ledger, SQL, "--json").document
    assert [{**row, "n": int(row["n"])} for row in rows] == document
    assert document[0] == {"loss": "bce", "outcome": "done", "n": 2}


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_out_writes_a_file_and_nothing_on_standard_output(
    scalelab: Callable, ledger: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / f"rows.{form}"
    done = scalelab("query", ledger, SQL, "--format", form, "--out", out)
    assert (done.code, done.out) == (0, "")
    if form == "parquet":
        assert pq.read_table(out).column("n").to_pylist() == [2, 1]
    elif form == "json":
        assert [row["n"] for row in json.loads(out.read_text())] == [2, 1]
    else:
        assert out.read_text().splitlines() == ["loss,outcome,n", "bce,done,2", "bce,failed,1"]


def test_values_that_are_no_numbers_are_null_in_json(scalelab: Callable, ledger: Path) -> None:
    sql = "SELECT 'nan'::DOUBLE AS a, 1.5 AS b, NULL AS c, [1, 2] AS d, DATE '2026-01-02' AS e"
    document = scalelab("query", ledger, sql, "--json").document
    assert document == [{"a": None, "b": 1.5, "c": None, "d": [1, 2], "e": "2026-01-02"}]


def test_two_columns_of_one_name_are_both_written(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, "SELECT 1 AS x, 2 AS x", "--format", "csv")
    assert done.out.splitlines()[1] == "1,2"


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT nothing FROM runs",
        "DELETE FROM runs",
        "COPY runs TO 'stolen.csv'",
        "SELECT * FROM read_csv('/etc/hostname')",
        "",
    ],
)
def test_what_cannot_be_asked_is_one_clear_line(scalelab: Callable, ledger: Path, sql: str) -> None:
    done = scalelab("query", ledger, sql)
    if sql == "":
        assert done.code in (0, 2)
        return
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) <= 2
    assert scalelab("query", ledger, "SELECT count(*) AS n FROM runs", "--json").document == [
        {"n": 3}
    ]


def test_the_name_of_the_file_is_its_form(scalelab: Callable, ledger: Path, tmp_path: Path) -> None:
    assert scalelab("query", ledger, SQL, "--out", tmp_path / "rows.csv").code == 0
    assert (tmp_path / "rows.csv").read_text().startswith("loss,outcome,n")
    assert scalelab("query", ledger, SQL, "--out", tmp_path / "rows.parquet").code == 0
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 2
    done = scalelab("query", ledger, SQL, "--format", "csv", "--out", tmp_path / "rows.json")
    assert done.code == 2
    assert "rows.csv" in done.err


def test_parquet_needs_a_file(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, SQL, "--format", "parquet")
    assert done.code == 2
    assert "--out" in done.err


def test_a_file_that_cannot_be_written_is_one_clear_line(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, SQL, "--format", "csv", "--out", "no/such/folder.csv")
    assert done.code == 2
    assert "no/such/folder.csv" in done.err


def test_many_rows_are_cut_in_a_table_only_and_it_says_so(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, "SELECT range AS n FROM range(600)")
    assert "500 of 600 rows" in done.err
    full = scalelab("query", ledger, "SELECT range AS n FROM range(600)", "--format", "csv")
    assert len(full.out.splitlines()) == 601
