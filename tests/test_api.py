import inspect
from pathlib import Path

import pyarrow as pa
import pytest

import scalelab
from scalelab.core.errors import DataError, LedgerError, SpecError
from scalelab.core.events import Progress, SweepObserver
from scalelab.core.records import Record
from scalelab.core.units import MIB

TINY = {
    "data.num_users": 120,
    "data.num_items": 60,
    "data.mean_length": 8.0,
    "data.max_length": 30,
    "batch.size": 32,
    "batch.max_len": 10,
    "model.hidden_dim": 16,
    "model.num_blocks": 1,
    "train.epochs": 2,
    "device.threads": 1,
}
STUDY = """
base = "sasrec-synthetic"
[set]
"data.num_users" = 120
"data.num_items" = 60
"data.mean_length" = 8.0
"data.max_length" = 30
"batch.max_len" = 10
"model.hidden_dim" = 16
"model.num_blocks" = 1
"train.epochs" = 1
"device.threads" = 1
[axes]
"loss.name" = ["dense_ce", "bce"]
"batch.size" = [16, 64]
"""


@pytest.fixture(scope="module")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def swept(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of the tiny study."""
    ledger = tmp_path_factory.mktemp("swept") / "tiny.duckdb"
    result = scalelab.sweep(tiny_study, ledger=ledger, executor="inline")
    assert result.exit_code == 0
    assert dict(result.counts) == {"done": 4}
    return ledger


def test_the_verbs_of_the_contract_are_there_and_documented() -> None:
    for verb in scalelab.__all__:
        if verb != "data":
            assert inspect.getdoc(getattr(scalelab, verb)), verb
    for verb in ("describe", "convert", "synthesize"):
        assert inspect.getdoc(getattr(scalelab.data, verb)), verb


def test_profile_returns_what_the_contract_says(tmp_path: Path) -> None:
    heard: list[Progress] = []
    facts = scalelab.profile(
        "sasrec-synthetic",
        set=TINY,
        out=tmp_path / "out",
        save_model=tmp_path / "model",
        report=heard.append,
    )
    assert facts["outcome"] == "done"
    assert facts["spec"]["batch"]["size"] == 32
    assert 0 <= facts["metrics"]["test"]["ndcg@10"] <= 1
    for stage in ("train", "eval"):
        parts = dict(facts["memory"][stage]["requested"])
        assert parts.pop("total") == sum(parts.values())
    assert facts["time"]["train_s"] > 0
    assert facts["time"]["tokens_per_s"] > 0
    assert facts["time"]["step_s_median"] > 0
    for name in ("timeline", "trace", "weights", "spec"):
        assert Path(facts["files"][name]).stat().st_size > 0
    assert heard


def test_profile_stops_after_so_many_steps() -> None:
    facts = scalelab.profile("sasrec-synthetic", set=TINY, steps=2)
    assert facts["outcome"] == "done"
    assert facts["spec"]["train"]["max_steps"] == 2


def test_what_is_planned_is_what_is_measured() -> None:
    (planned,) = scalelab.plan("sasrec-synthetic", set=TINY, on="cpu")
    measured = scalelab.profile("sasrec-synthetic", set=TINY, steps=4)["memory"]["train"]
    total = planned["memory"]["requested"]["total"]
    assert total == pytest.approx(measured["requested"]["total"], rel=0.005)
    assert planned["seconds"]["step"]["low"] <= planned["seconds"]["step"]["high"]
    assert planned["fits"] is True


@pytest.mark.slow
def test_plan_solves_for_the_largest_value_that_fits() -> None:
    arguments = {"on": "cpu", "budget": "3MiB", "set": TINY}
    (answer,) = scalelab.plan("sasrec-synthetic", solve="batch.max_len", **arguments)
    assert answer["key"] == "batch.max_len"
    assert answer["next_value"] == answer["value"] + 1
    assert answer["spec"]["batch"]["max_len"] == answer["value"]
    assert answer["memory"]["requested"]["total"] <= 3 * MIB


def test_a_study_is_planned_cell_by_cell(tiny_study: Path) -> None:
    cells = scalelab.plan(tiny_study, on="rtx3090")
    assert len(cells) == 4
    assert len({cell["label"] for cell in cells}) == 4
    assert {"requested", "allocated", "reserved"} <= set(cells[0]["memory"])


@pytest.mark.slow
def test_a_sweep_typed_again_runs_nothing(tiny_study: Path, swept: Path) -> None:
    class Heard(SweepObserver):
        started: list[str] = []  # noqa: RUF012

        def on_run_start(self, run_id: str) -> None:
            self.started.append(run_id)

    heard = Heard()
    result = scalelab.sweep(tiny_study, ledger=swept, executor="inline", observer=heard)
    assert heard.started == []
    assert all(cell.finished_before for cell in result.cells)


def test_a_dry_run_writes_no_ledger(tiny_study: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "none.duckdb"
    result = scalelab.sweep(tiny_study, ledger=ledger, dry_run=True)
    assert len(result.cells) == 4
    assert all(cell.predicted_bytes for cell in result.cells)
    assert not ledger.exists()


@pytest.mark.slow
def test_an_observer_hears_every_record(tiny_study: Path, tmp_path: Path) -> None:
    class Heard(SweepObserver):
        def __init__(self) -> None:
            self.records: list[Record] = []

        def on_run_end(self, record: Record) -> None:
            self.records.append(record)

    heard = Heard()
    scalelab.sweep(
        tiny_study,
        ledger=tmp_path / "x.duckdb",
        set=["loss.name=bce"],
        executor="inline",
        observer=heard,
    )
    assert {record.run.loss for record in heard.records} == {"bce"}
    assert len(heard.records) == 2


@pytest.mark.slow
def test_query_report_and_compare_read_what_the_sweep_wrote(swept: Path, tmp_path: Path) -> None:
    rows = scalelab.query(swept, "SELECT loss, test_ndcg_10, peak_bytes FROM results ORDER BY 1")
    assert isinstance(rows.arrow, pa.Table)
    assert rows.column("loss").to_pylist() == ["bce", "bce", "dense_ce", "dense_ce"]
    assert all(rows.column("peak_bytes").to_pylist())
    (page,) = scalelab.report(swept, out=tmp_path / "page.html")
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    published = tmp_path / "published.csv"
    published.write_text("dataset,model,loss,metric,value\nsynthetic,sasrec,ce,ndcg@10,0.1\n")
    (row,) = scalelab.compare(swept, published).to_pylist()
    assert row["ratio"] == pytest.approx(row["ours"] / 0.1)


def test_data_is_synthesized_and_described(tmp_path: Path) -> None:
    wanted = {"num_items": 50, "num_users": 80, "mean_length": 8.0, "max_length": 25}
    made = scalelab.data.synthesize(tmp_path / "made", set=wanted)
    assert made["num_items"] == 50
    facts = scalelab.data.describe(tmp_path / "made")
    assert (facts["users"], facts["items"]) == (80, 50)
    assert facts["fingerprint"] == made["fingerprint"]
    again = scalelab.data.convert(tmp_path / "made", tmp_path / "again")
    assert again["fingerprint"] == made["fingerprint"]


def test_settings_may_be_a_mapping_or_texts() -> None:
    texts = [f"{key}={value}" for key, value in TINY.items()]
    (one,), (other,) = (scalelab.plan("sasrec-synthetic", set=form) for form in (TINY, texts))
    assert one["spec"] == other["spec"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: scalelab.profile("nothing"), SpecError),
        (lambda: scalelab.profile("sasrec-synthetic", set={"batch.siez": 1}), SpecError),
        (lambda: scalelab.plan("sasrec-synthetic", on="abacus"), SpecError),
        (lambda: scalelab.plan("sasrec-synthetic", solve="loss.name"), SpecError),
        (lambda: scalelab.sweep("nothing"), SpecError),
        (lambda: scalelab.query("nothing.duckdb", "SELECT 1"), LedgerError),
        (lambda: scalelab.report("nothing.duckdb"), LedgerError),
        (lambda: scalelab.data.describe("nothing.parquet"), DataError),
        (lambda: scalelab.list_parts("looses"), SpecError),
    ],
)
def test_bad_input_raises_one_line(call, error: type[Exception], plain_environment: Path) -> None:
    with pytest.raises(error) as raised:
        call()
    assert "\n" not in str(raised.value)
