import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scalelab.cli.fitting import fitting_columns, folded, shared_values, with_unit

from .terminal import Screen, run_in_terminal

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
    ],
)
def test_what_cannot_be_asked_is_one_clear_line(scalelab: Callable, ledger: Path, sql: str) -> None:
    done = scalelab("query", ledger, sql)
    assert done.code == 2
    assert done.err.startswith("error: ")
    # Between message and hint DuckDB may show the line of the query, with a mark below it.
    _, *place, hint = done.err.splitlines()
    assert hint.startswith("hint: ")
    assert not place or (len(place) == 2 and place[0].startswith("LINE 1: "))
    assert scalelab("query", ledger, "SELECT count(*) AS n FROM runs", "--json").document == [
        {"n": 3}
    ]


@pytest.mark.parametrize("sql", [(), ("",), (" ",)])
def test_without_sql_it_lists_views_and_tables_with_their_columns(
    scalelab: Callable, ledger: Path, monkeypatch: pytest.MonkeyPatch, sql: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = scalelab("query", ledger, *sql)
    assert done.code == 0
    lines = done.out.splitlines()
    assert max(len(line) for line in lines if "scalelab query" not in line) <= 80
    shown = re.sub(r"\s+", " ", done.out)
    described = scalelab("query", ledger, "DESCRIBE results", "--json").document
    assert ", ".join(row["column_name"] for row in described) in shown
    assert "pareto_time those of configurations" in shown
    assert "runs those of results, num_children" in shown
    assert "metrics run_id, split, epoch, name, k, value" in shown
    # What it says to try can be typed.
    tried = re.findall(r'scalelab query (\S+) "(.+)"', done.out)
    assert len(tried) == 2
    for file, query in tried:
        assert scalelab("query", file, query).code == 0
    document = scalelab("query", ledger, *sql, "--json").document
    assert {"name": "reused_runs", "columns": ["study_id", "fingerprint"]} in document


def test_a_result_without_rows_is_no_long_line(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, "FROM results WHERE loss = 'none'")
    assert done.code == 0
    assert done.out.startswith("no rows; columns: run_id, study_id, ")
    assert max(map(len, done.out.splitlines())) <= 120
    assert scalelab("query", ledger, "FROM results WHERE false", "--json").document == []


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


def test_duckdbs_own_hints_pass_through(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, "SELECT los FROM results")
    assert done.code == 2
    lines = done.err.splitlines()
    assert lines[1] == "LINE 1: SELECT los FROM results"
    assert lines[2].strip() == "^^^"
    assert lines[2].index("^") == lines[1].index("los")
    assert lines[3].startswith('hint: Candidate bindings: "loss"')
    assert 'Did you mean "results' in scalelab("query", ledger, "FROM resultss").err


def test_one_question_at_a_time(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, "SELECT 1; SELECT 2")
    assert (done.code, done.out) == (2, "")
    assert "it has 2 statements" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("sql", ["FROM pareto_memory", "FROM results", "FROM configurations"])
def test_a_view_fits_a_terminal_with_units(ledger: Path, sql: str) -> None:
    command = ["-m", "scalelab", "query", str(ledger), sql]
    text, code = run_in_terminal(command, width=80, height=24)
    assert code == 0
    screen = Screen(80, 24)
    screen.feed(text)
    shown = screen.shown()
    assert not any(line.startswith("row 1") for line in shown)
    assert any("columns not shown" in line for line in shown)
    assert re.search(r"\d [KMG]iB", "\n".join(shown))


def test_columns_that_fit_are_the_usual_ones_that_differ() -> None:
    columns = {
        "spec": ['{"a": 1}' * 9, '{"a": 2}' * 9],
        "host": ["a", "a"],
        "loss": ["bce", "rece"],
        "other": ["1", "2"],
        "num_items": ["10", "20"],
    }
    assert fitting_columns(columns, 30) == ["loss", "other", "num_items"]
    assert fitting_columns(columns, 20) == ["loss", "num_items"]
    assert shared_values(columns) == {"host": "a"}
    # The heads are broken, so that what tells two rows apart is not left out for its long name.
    assert folded("num_negatives", ["16", "128"]) == "num_\nnegatives"
    assert folded("test_ndcg_10", ["0.123456789"]) == "test_ndcg_\n10"
    # One row shares nothing with others.
    assert fitting_columns({"host": ["a"], "loss": ["bce"]}, 30) == ["host", "loss"]


def test_a_quality_is_shown_once_where_it_is_ndcg():
    one, other = ["0.1000", "0.2000"], ["0.3000", "0.4000"]
    same = {"test_quality": one, "test_ndcg_10": one, "loss": ["bce", "rece"]}
    assert fitting_columns(same, 80) == ["test_ndcg_10", "loss"]
    assert fitting_columns(same | {"test_ndcg_10": other}, 80) == [*same]
    assert with_unit("test_quality", 0.1, ()) == with_unit("test_ndcg_10", 0.1, ()) == "0.1000"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("peak_bytes", 2**30, "1 GiB"),
        ("peak_bytes_max", 2048, "2 KiB"),
        ("train_s", 90.0, "1m 30s"),
        ("tokens_per_s", 1000.0, "1000"),
        ("test_ndcg_10", 0.123456, "0.1235"),
        ("item_table", 2048, "2048"),
        ("seed", 3, "3"),
        ("error", None, ""),
    ],
)
def test_units_are_for_people(name: str, value: object, text: str) -> None:
    assert with_unit(name, value, [name]) == text


@pytest.mark.parametrize("view", ["configurations", "results"])
def test_in_a_pipe_a_view_shows_what_varies_and_files_hold_all(
    scalelab: Callable, ledger: Path, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    """Not the whole spec of each row, in lines of thousands of letters."""
    monkeypatch.delenv("COLUMNS", raising=False)
    done = scalelab("query", ledger, f"FROM {view}")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 120
    assert '"seed"' not in done.out
    assert "spec" in done.err
    assert "--format csv writes all" in done.err
    # One line for each row below the heads; numbers are raw, as in files.
    document = scalelab("query", ledger, f"FROM {view}", "--json").document
    below = done.out[done.out.index("\u2500") :].splitlines()[1:]
    assert len([line for line in below if line.strip()]) == len(document)
    names = [
        row["column_name"]
        for row in scalelab("query", ledger, f"DESCRIBE {view}", "--json").document
    ]
    assert [*document[0]] == names
    rows = list(
        csv.DictReader(
            io.StringIO(scalelab("query", ledger, f"FROM {view}", "--format", "csv").out)
        )
    )
    assert [*rows[0]] == names
    assert json.loads(rows[0]["spec"])


def test_in_a_pipe_columns_that_were_named_are_all_there(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("query", ledger, "SELECT loss, spec FROM results")
    assert done.out.count('"seed"') == 2
