"""Bad data through the command line: one clear line each, exit code 2; good data: facts."""

from collections.abc import Callable
from pathlib import Path

import pytest

ROWS = [(user, item, 10 * user + item) for user in range(6) for item in range(5)]


def _csv(path: Path, rows: list[tuple], header: str = "user,item,time") -> Path:
    lines = [header, *(",".join(str(value) for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def good(plain_environment: Path) -> Path:
    return _csv(plain_environment / "good.csv", ROWS)


def test_describe_counts_what_is_there_and_what_a_filter_drops(
    scalelab: Callable, good: Path
) -> None:
    facts = scalelab("data", "describe", good, "--json").document
    assert (facts["users"], facts["items"], facts["interactions"]) == (6, 5, 30)
    more = _csv(good.with_name("more.csv"), [*ROWS, (99, 4, 1), (99, 3, 2)])
    filtered = scalelab("data", "describe", more, "--set", "min_user_count=3", "--json").document
    assert filtered["users"] == 6
    assert sum(filtered["dropped_by_filters"].values()) >= 2
    shown = scalelab("data", "describe", more, "--set", "min_user_count=3").out
    assert "dropped_by_filters" in shown
    assert [line.split() for line in shown.splitlines() if "columns." in line] == [
        ["columns.user", "user"],
        ["columns.item", "item"],
        ["columns.time", "time"],
    ]
    assert "numbers of no known unit" in shown


@pytest.mark.slow
def test_the_compact_form_describes_itself_as_its_source_does(
    scalelab: Callable, good: Path
) -> None:
    source = scalelab("data", "describe", good, "--json").document
    assert scalelab("data", "convert", good, "compact").code == 0
    assert scalelab("data", "describe", "compact", "--json").document == source


def test_a_name_is_searched_under_scalelab_data(
    scalelab: Callable, plain_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plain_environment / "sets" / "mine"
    folder.mkdir(parents=True)
    _csv(folder / "interactions.csv", ROWS)
    monkeypatch.setenv("SCALELAB_DATA", str(folder.parent))
    assert scalelab("data", "describe", "mine", "--json").document["users"] == 6


BAD = {
    "missing file": ("describe", "nowhere.csv"),
    "missing column": ("describe", "good.csv", "--set", "item=product"),
    "unknown key": ("describe", "good.csv", "--set", "min_item_cuont=3"),
    "wrong type": ("describe", "good.csv", "--set", "min_item_count=many"),
    "unknown reader": ("describe", "good.csv", "--reader", "tabel"),
    "nothing left": ("describe", "good.csv", "--set", "min_user_count=100"),
    "empty file": ("describe", "empty.csv"),
    "no rows": ("describe", "header.csv"),
    "time that is no number": ("describe", "nan.csv"),
    "negative options": ("synthesize", "out", "--set", "num_items=-3"),
    "unknown option": ("synthesize", "out", "--set", "num_itmes=100"),
    "folder that is there": ("convert", "good.csv", "good.csv"),
    "setting without value": ("describe", "good.csv", "--set", "split"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_clear_line_and_exit_code_2(
    scalelab: Callable, good: Path, name: str
) -> None:
    good.with_name("empty.csv").write_text("")
    _csv(good.with_name("header.csv"), [])
    _csv(good.with_name("nan.csv"), [*ROWS[:-1], (5, 4, "nan")])
    done = scalelab("data", *BAD[name])
    assert done.code == 2, done.out
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
    again = scalelab("data", *BAD[name], "--json")
    assert again.code == 2
    assert set(again.document["error"]) == {"kind", "message", "hint"}


RUNS = {
    "temporal split of an order": ["data.split=temporal", "data.time=false"],
    "users too short": ["data.path=short.csv"],
    "unknown loss": ["loss.name=bec"],
    "loss without its negatives": ["loss.name=bce", "negatives=[]"],
    "unknown table": ["trian.epochs=3"],
    "zero epochs": ["train.epochs=0"],
    "no such device": ["device.name=tpu"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_cannot_be_is_refused_in_one_line(
    scalelab: Callable, good: Path, name: str
) -> None:
    _csv(good.with_name("short.csv"), [(user, 1, 1) for user in range(5)])
    settings = ["data.reader=table", f"data.path={good}", "data.min_item_count=0"]
    settings += ["data.min_user_count=0", *RUNS[name]]
    arguments = [word for setting in settings for word in ("--set", setting)]
    done = scalelab("profile", "sasrec-beauty", *arguments, "--quiet")
    assert done.code == 2, done.err
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) <= 2


WHERES = [
    "1 = 1); COPY (SELECT 1) TO 'evil.csv'; SELECT (1",
    "1 = 1) UNION ALL (SELECT 1, 2, 3 FROM 'secret.csv'",
    "item IN (SELECT x FROM 'secret.csv')",
]


@pytest.mark.parametrize("command", ["plan", "profile", "sweep"])
@pytest.mark.parametrize("where", WHERES)
def test_a_condition_in_a_toml_writes_and_reads_no_other_file(
    scalelab: Callable, good: Path, command: str, where: str
) -> None:
    folder = good.parent
    (folder / "secret.csv").write_text("x\n1\n")
    (folder / "run.toml").write_text(
        f'[data]\nreader = "table"\npath = "{good.name}"\nwhere = "{where}"\n'
        '[loss]\nname = "cross_entropy"\n[train]\nepochs = 1\n'
    )
    (folder / "study.toml").write_text('base = "run.toml"\n[axes]\n"batch.size" = [4]\n')
    before = {file.name for file in folder.iterdir()}
    done = scalelab(command, "study.toml" if command == "sweep" else "run.toml")
    assert done.code == 2, done.out
    errors = done.err[done.err.index("error: ") :]
    assert errors.startswith("error: data.where = ")
    assert len(errors.splitlines()) <= 2
    # A study is called by its folder, also where it is named from within.
    assert {file.name for file in folder.iterdir()} - before <= {f"{folder.name}.duckdb"}


@pytest.mark.parametrize(
    ("drop", "misses"), [("none", True), pytest.param("exact", False, marks=pytest.mark.slow)]
)
def test_targets_that_can_only_be_misses_are_told_beside_the_table(
    scalelab: Callable, plain_environment: Path, drop: str, misses: bool
) -> None:
    rows = [(f"u{u}", f"i{(u * 3 + k) % 40}", 100 * u + k) for u in range(40) for k in range(5)]
    _csv(plain_environment / "twice.csv", [*rows, *rows])
    (plain_environment / "s.toml").write_text(
        'base = "sasrec-synthetic"\ncharts = []\n[set]\n"data.reader" = "table"\n'
        f'"data.path" = "twice.csv"\n"data.drop" = "{drop}"\n"train.epochs" = 1\n'
        '"model.hidden_dim" = 16\n"negatives.num_negatives" = 2\n"device.threads" = 1\n'
        '[axes]\n"batch.size" = [16]\n'
    )
    done = scalelab("sweep", "s.toml", "--executor", "inline", "--quiet", "--ledger", "s.duckdb")
    assert done.code == 0, done.err
    assert ("their users had them before" in " ".join(done.out.split())) == misses


def test_a_device_that_does_not_answer_is_refused_in_one_line(
    scalelab: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalelab.measure.gpus.visible_gpus", tuple)
    for command in ("profile", "sasrec-synthetic"), ("sweep", "quickstart"):
        done = scalelab(*command, "--device", "cuda")
        assert done.code == 2
        assert done.err.splitlines()[-2:] == [
            "error: no CUDA GPU found for 'cuda'",
            "hint: write --device cpu",
        ]
