"""What the verbs return is shown in a notebook, and is still what a script expects."""

import copy
import pickle
import re

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import scalelab
from scalelab.core.errors import MissingExtra, SpecError
from scalelab.core.keys import Key
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec
from scalelab.notebook.documents import Planned, Profile
from scalelab.notebook.lists import Keys
from scalelab.notebook.rows import Rows
from scalelab.result_tables import frames

SMALL = {
    "data.reader": "synthetic",
    "data.num_items": 300,
    "data.num_users": 200,
    "data.mean_length": 8.0,
    "data.max_length": 30,
    "device.threads": 1,
}
TABLE = pa.table({"peak_bytes": [2**20, None], "test_ndcg_10": [0.25, 0.5], "loss": ["<a>", "b"]})


def cells(html: str) -> list[str]:
    return re.findall(r"<td[^>]*>([^<]*)</td>", html)


def test_rows_are_an_arrow_table_and_become_data_frames() -> None:
    rows = Rows(TABLE)
    assert (rows.num_rows, len(rows), rows.column_names) == (2, 2, TABLE.column_names)
    assert rows["loss"].to_pylist() == rows.column("loss").to_pylist() == ["<a>", "b"]
    assert list(rows) == rows.to_pylist() == TABLE.to_pylist()
    assert pd.DataFrame(rows.to_pandas())["test_ndcg_10"].tolist() == [0.25, 0.5]
    assert rows.to_polars().equals(pl.DataFrame(rows))
    assert duckdb.sql("SELECT sum(test_ndcg_10) FROM rows").fetchall() == [(0.75,)]
    assert rows == TABLE
    assert rows == pickle.loads(pickle.dumps(rows)) == copy.deepcopy(rows)
    assert rows != Rows(TABLE.slice(1))


def test_rows_are_shown_with_units_and_escaped() -> None:
    shown = Rows(TABLE)._repr_html_()
    assert cells(shown) == ["1 MiB", "0.2500", "&lt;a&gt;", "", "0.5000", "b"]
    many = Rows(pa.table({"n": list(range(100))}))
    assert "40 more rows are not shown" in many._repr_html_()
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert cells(Rows(twice)._repr_html_()) == ["1", "2"]


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_data_frame_without_its_package_is_one_line(package, monkeypatch) -> None:
    def to_pandas(self) -> None:
        raise ModuleNotFoundError("No module named 'pandas'")

    class Table:
        pass

    Table.to_pandas = to_pandas
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(MissingExtra, match=f"{package} is not installed") as raised:
        getattr(frames, f"as_{package}")(Table())
    assert raised.value.hint == f"pip install {package}"


def test_keys_parts_and_checks_are_tables() -> None:
    found = scalelab.keys("loss.")
    assert isinstance(found, tuple)
    assert all(isinstance(key, Key) for key in found)
    assert "loss.name" in cells(found._repr_html_())
    assert Keys()._repr_html_() == ""
    parts = scalelab.list("losses")
    assert "gbce" in cells(parts._repr_html_())
    assert "<caption>losses</caption>" in parts._repr_html_()
    checks = scalelab.doctor()
    assert {check.name for check in checks} <= set(cells(checks._repr_html_()))


@pytest.mark.slow
def test_a_plan_is_a_list_of_dicts_with_attributes_and_a_table() -> None:
    study = {"base": "sasrec-synthetic", "set": SMALL, "axes": {"loss.name": ["bce", "dense_ce"]}}
    plan = scalelab.plan(study, on="cpu")
    assert isinstance(plan, list)
    first = plan[0]
    assert first.memory is first["memory"]
    assert first.fits is True
    assert first["label"] == "bce"
    shown = plan._repr_html_()
    assert {"bce", "dense_ce"} <= set(cells(shown))
    assert "Both configurations fit" in shown
    frame = plan.to_polars()
    assert frame["memory_requested_bytes"].to_list() == [
        one["memory"]["requested"]["total"] for one in plan
    ]
    assert plan.to_pandas()["run_high_s"].tolist() == [
        one["seconds"]["run"]["high"] for one in plan
    ]
    assert "value" not in dir(plan)


@pytest.mark.slow
def test_a_solved_plan_shows_the_value() -> None:
    plan = scalelab.plan(SMALL, on="cpu", solve="batch.max_len", budget="3MiB")
    assert f"{plan[0]['value']:,}" in cells(plan._repr_html_())


def test_what_has_no_such_key_has_no_such_attribute() -> None:
    with pytest.raises(AttributeError, match="memory"):
        _ = Planned().memory
    assert not hasattr(Profile(), "outcome")


@pytest.mark.slow
def test_a_run_may_be_a_name_a_dict_or_a_spec() -> None:
    by_name = scalelab.plan("sasrec-synthetic", set=SMALL, on="cpu")
    spec = RunSpec.load("sasrec-synthetic", SMALL)
    assert scalelab.plan(spec, on="cpu") == by_name
    assert scalelab.plan(spec.as_sections(), on="cpu") == by_name
    changed = scalelab.plan(spec, set={"batch.size": 8}, on="cpu")
    assert changed[0]["spec"]["batch"]["size"] == 8
    dotted = scalelab.plan({"loss.name": "bce", "negatives.num_negatives": 3} | SMALL, on="cpu")
    assert dotted[0]["spec"]["loss"]["name"] == "bce"
    assert dotted[0]["spec"]["negatives"][0]["num_negatives"] == 3


@pytest.mark.slow
def test_a_study_may_be_a_dict_or_a_spec() -> None:
    sections = {"name": "s", "base": "sasrec-synthetic", "set": SMALL}
    study = StudySpec.from_sections(sections, __import__("pathlib").Path("study.toml"), "s")
    planned = scalelab.plan(sections, on="cpu")
    assert scalelab.plan(study, on="cpu") == planned
    by_dict = scalelab.sweep(sections, dry_run=True)
    assert by_dict.study_id == scalelab.sweep(study, dry_run=True).study_id
    assert str(by_dict.ledger) == "s.duckdb"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scalelab.profile({"base": "sasrec-synthetic"}), 'a dict with "base" is a study'),
        (lambda: scalelab.plan({"los": {}}), "a run has no section 'los'"),
        (lambda: scalelab.plan({"base": "sasrec-synthetic", "axis": {}}), "unknown key 'axis'"),
        (lambda: scalelab.sweep({"set": {}}), "the key 'base' is missing"),
    ],
)
def test_a_wrong_dict_is_one_line(call, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_profile_is_a_dict_with_attributes_and_a_table(tmp_path) -> None:
    small = SMALL | {"model.hidden_dim": 16, "train.epochs": 1}
    found = scalelab.profile("sasrec-synthetic", set=small, steps=1)
    assert isinstance(found, dict)
    assert found.memory is found["memory"]
    assert found.outcome == "done"
    shown = found._repr_html_()
    assert {"item_table", "ndcg@10", "requested"} <= set(cells(shown))
