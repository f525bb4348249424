"""A table's numbers are those of SQL, its marks fair, its LaTeX whole whatever names it holds."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.records import Baseline, Metric, Outcome
from scalelab.result_tables.documents import as_document
from scalelab.result_tables.marks import marks_of
from scalelab.result_tables.printed import printed
from scalelab.result_tables.result_table import make_table
from scalelab.store.ledger import Ledger

HOSTILE = r"a_b & 50% #$ {~^\end} <i>|*x*"


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create_or_open(tmp_path / "a.duckdb")


def made(fake, index, *, valid=None, test=None, **settings):
    """A run of its own whose NDCG@10 is as given."""
    one = fake.record(index=index, **settings)
    spec = json.loads(one.run.spec)
    run = replace(one.run, spec=json.dumps(spec), fingerprint=f"fingerprint-{index}")
    given = {"valid": valid, "test": test}
    metrics = tuple(
        replace(m, value=given[m.split])
        if (m.name, m.k) == ("ndcg", 10) and given.get(m.split) is not None
        else m
        for m in one.metrics
    )
    return replace(one, run=run, metrics=metrics)


def table(ledger, rows=("loss",), columns=("dataset",), metrics=("ndcg@10",), **options):
    return make_table(ledger, rows=rows, columns=columns, metrics=metrics, **options)


def marks(made_table, metric="ndcg@10"):
    """The mark by heads and number of the column."""
    step, place = len(made_table.metrics), made_table.metrics.index(metric)
    return {
        (*line.heads, number): entry.mark
        for line in made_table.lines
        for number, entry in enumerate(line.entries[place::step])
    }


def body(latex):
    """The cells of each row of a LaTeX table, below its heads."""
    rows = latex.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    lines = [line.removesuffix("\\\\").strip() for line in rows.splitlines()]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line)]
        for line in lines
        if line and line != "\\midrule"
    ]


def test_the_numbers_are_those_of_sql(fake, study):
    made_table = table(study, metrics=("ndcg@10", "hr@20"))
    rows = study.query(
        """
        WITH chosen AS (
            SELECT * FROM configurations WHERE valid_ndcg_10 IS NOT NULL
            QUALIFY row_number() OVER (
                PARTITION BY loss, data_fingerprint ORDER BY valid_ndcg_10 DESC) = 1
        )
        SELECT chosen.loss, chosen.num_items, chosen.test_ndcg_10 AS ndcg,
            avg(value) AS hr, any_value(chosen.peak_bytes) / 1024.0 / 1024 AS peak,
            any_value(chosen.train_s) AS train_s
        FROM chosen JOIN results USING (configuration) JOIN metrics USING (run_id)
        WHERE split = 'test' AND name = 'hr' AND k = 20
        GROUP BY ALL ORDER BY chosen.loss, chosen.num_items
        """
    ).to_pylist()
    expected = {}
    for row in rows:
        cells = [row["ndcg"], row["hr"], row["peak"], row["train_s"]]
        expected.setdefault(row["loss"], []).extend(cells)
    found = body(made_table.to_latex())
    assert [row[0].replace("\\_", "_") for row in found] == list(expected)
    for row, wanted in zip(found, expected.values(), strict=True):
        numbers = [float(re.search(r"[\d,]+\.\d+", cell)[0].replace(",", "")) for cell in row[1:]]
        assert len(numbers) == 12
        digits = [4, 4, 1, 1] * 3
        for number, value, places in zip(numbers, wanted, digits, strict=True):
            assert number == pytest.approx(value, abs=0.51 * 10**-places)


def test_recall_is_its_own_figure_where_it_was_stored(fake, ledger):
    """With several targets a user it is not the hit rate; older runs had one and no recall."""
    one = made(fake, 0, test=0.2)
    (hits,) = (m.value for m in one.metrics if (m.split, m.name, m.k) == ("test", "hr", 20))
    ledger.append([one])
    old = table(ledger, metrics=("recall@20",))
    assert (old.metrics[0], old.lines[0].entries[0].figure.mean) == ("hr@20", hits)
    recall = Metric(split="test", epoch=1, name="recall", k=20, value=hits / 2)
    ledger.append([replace(one, metrics=(*one.metrics, recall))])
    new = table(ledger, metrics=("recall@20", "hr@20"))
    assert [entry.figure.mean for entry in new.lines[0].entries[:2]] == [hits / 2, hits]
    assert "Recall@20 | " in new.to_markdown()


def test_mean_and_spread_are_over_seeds(fake, ledger):
    values = [0.10, 0.20, 0.60]
    ledger.append([made(fake, i, seed=i, test=value) for i, value in enumerate(values)])
    ledger.append([made(fake, 9, loss="rece", test=0.2)])
    first, second = (line.entries[0].figure for line in table(ledger).lines)
    assert (first.mean, first.seeds) == (pytest.approx(0.3), 3)
    assert first.std == pytest.approx(0.2645751311)
    assert (second.std, second.seeds) == (None, 1)
    assert "**0.3000** &plusmn; 0.2646" in table(ledger).to_markdown()
    assert any("1 to 3 seeds" in note for note in table(ledger).notes)


def test_the_configuration_is_chosen_on_validation_not_on_test(fake, ledger):
    ledger.append(
        [
            made(fake, 0, batch_size=64, valid=0.5, test=0.1),
            made(fake, 1, batch_size=128, valid=0.4, test=0.9),
        ]
    )
    (line,) = table(ledger).lines
    assert line.entries[0].figure.mean == pytest.approx(0.1)
    assert any("batch 64 (best of 2)" in note for note in table(ledger).notes)


def test_one_that_lost_seeds_comes_after_one_that_did_not(fake, ledger):
    ledger.append(
        [
            made(fake, 0, batch_size=64, valid=0.5, test=0.5),
            made(fake, 1, batch_size=64, seed=1, outcome=Outcome.DIVERGED),
            made(fake, 2, batch_size=128, valid=0.4, test=0.4),
            made(fake, 3, loss="rece", valid=0.5, test=0.5),
            made(fake, 4, loss="rece", seed=1, outcome=Outcome.OOM),
        ]
    )
    bce, rece = table(ledger).lines
    assert bce.entries[0].figure.mean == pytest.approx(0.4)
    assert rece.entries[0].figure.mean == pytest.approx(0.5)
    assert any(note.startswith("rece: 1 of 2 seeds") for note in table(ledger).notes)


def test_data_sets_and_devices_are_never_ranked_together(fake, ledger):
    ledger.append(
        [
            made(fake, 0, dataset="beauty", test=0.1),
            made(fake, 1, dataset="beauty", loss="rece", test=0.2),
            made(fake, 2, dataset="toys", test=0.9),
            made(fake, 3, dataset="toys", loss="rece", test=0.8),
            made(fake, 4, dataset="toys", test=0.7, cuda=True),
        ]
    )
    made_table = table(ledger)
    assert len(made_table.columns) == 3
    assert marks(made_table) == {
        ("bce", 0): "second", ("rece", 0): "best",
        ("bce", 1): "best", ("rece", 1): "second",
        ("bce", 2): "", ("rece", 2): "",
    }  # fmt: skip
    # Also where nobody asked for data sets: they stay apart.
    assert marks(table(ledger, columns=())) == marks(made_table)
    by_row = marks(table(ledger, rows=("dataset",), columns=("loss",)))
    assert sorted(by_row.values()) == ["", "", "best", "best", "second", "second"]


def test_results_of_another_version_stand_in_a_column_of_their_own(fake, ledger):
    old = made(fake, 0, test=0.9)
    ledger.append(
        [
            replace(old, run=replace(old.run, results_version=1)),
            made(fake, 1, test=0.1),
            made(fake, 2, loss="rece", test=0.2),
        ]
    )
    made_table = table(ledger)
    assert [texts[0] for texts in made_table.columns] == [
        "synthetic, results version 1",
        "synthetic, results version 3",
    ]
    assert marks(made_table)["rece", 1] == "best"


def test_a_baseline_takes_part_in_the_ranking(fake, ledger):
    ledger.append([made(fake, 0, test=0.1), made(fake, 1, loss="rece", test=0.2)])
    where = {"data_fingerprint": "synthetic-100000", "protocol": "leave-one-out, seen excluded"}
    ledger.add_baselines(
        [
            Baseline(
                **where, name="popularity", split=split, metric="ndcg", k=10, value=0.3, seconds=1.0
            )
            for split in ("valid", "test")
        ]
    )
    found = marks(table(ledger))
    assert found == {("bce", 0): "", ("rece", 0): "second", ("popularity (baseline)", 0): "best"}


def test_a_baseline_has_each_metric_that_was_stored(fake, ledger):
    ledger.append([made(fake, 0, test=0.1)])
    where = {"data_fingerprint": "synthetic-100000", "protocol": "leave-one-out, seen excluded"}
    of_test = where | {"name": "popularity", "split": "test", "k": 10, "seconds": 1.0}
    values = {"ndcg": 0.05, "hr": 0.1}
    ledger.add_baselines(
        [Baseline(**of_test, metric=metric, value=value) for metric, value in values.items()]
    )
    *_, line = table(ledger, metrics=("ndcg@10", "hr@10", "mrr@10")).lines
    figures = [entry.figure and entry.figure.mean for entry in line.entries[:3]]
    assert figures == [0.05, 0.1, None]


def test_a_metric_of_which_more_is_not_better_has_no_mark(fake, ledger):
    ledger.append([made(fake, n, loss=loss) for n, loss in enumerate(("bce", "rece"))])
    found = table(ledger, metrics=("hr@10", "popularity@10", "target_popularity"))
    assert set(marks(found, "hr@10").values()) == {"best", "second"}
    popularity = [line.entries[1].figure.mean for line in found.lines]
    assert len(set(popularity)) == 2
    assert set(marks(found, "popularity@10").values()) == {""}
    heads = str(printed(found))
    assert "Popularity@10" in heads
    assert "Target popularity" in heads


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": 0.3, "b": 0.2, "c": 0.1}, {"a": "best", "b": "second"}),
        ({"a": 0.3, "b": 0.30004, "c": 0.1}, {"a": "best", "b": "best"}),
        ({"a": 0.3, "b": 0.2, "c": 0.2}, {"a": "best", "b": "second", "c": "second"}),
        ({"a": 0.0, "b": 0.0}, {}),
        ({"a": 0.00004, "b": 0.00001}, {}),
        ({"a": 0.3}, {}),
        ({"a": 0.3, "b": 0.3}, {}),
        ({"a": 0.3, "b": 0.0}, {"a": "best"}),
    ],
)
def test_marks(values, expected):
    assert marks_of(values) == expected


def hostile(fake, ledger):
    ledger.append(
        [
            made(fake, 0, dataset=HOSTILE, test=0.1),
            made(fake, 1, dataset=HOSTILE, loss="x_&_%", test=0.2),
            made(fake, 2, dataset="toys\n\x1b[31m", test=0.2),
        ]
    )
    return table(ledger, metrics=("ndcg@10", "hr@10"))


def test_latex_holds_whatever_the_names_are(fake, ledger):
    latex = hostile(fake, ledger).to_latex()
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", latex)[1]
    assert columns == "l" + "r" * 8
    assert all(len(row) == len(columns) for row in body(latex))
    bare = re.sub(r"\\[\\&%$#_{}]", "", latex.replace("\\\\", ""))
    assert bare.count("{") == bare.count("}")
    # What is left of the special signs is ours: the first line, & between columns, $ around \pm.
    rest = bare.partition("\n")[2]
    assert not set("#~^%_") & set(rest)
    assert "\x1b" not in latex
    opened = re.findall(r"\\begin\{(\w+)\}", latex)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", latex)) == ["table", "tabular"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(fake, ledger, tmp_path):
    head = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
    text = f"{head}\\begin{{document}}{hostile(fake, ledger).to_latex()}\\end{{document}}"
    (tmp_path / "a.tex").write_text(text)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_markdown_and_html_hold_whatever_the_names_are(fake, ledger):
    made_table = hostile(fake, ledger)
    lines = [line for line in made_table.to_markdown().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {10}
    html = made_table.to_html()
    assert "<i>" not in html
    assert "&lt;i&gt;" in html
    assert made_table._repr_html_() == html


def test_csv_has_raw_figures(study):
    made_table = table(study)
    rows = made_table.figures.to_pylist()
    peaks = {row["configuration"]: row["mean"] for row in rows if row["metric"] == "peak_bytes"}
    known = study.query("SELECT configuration, peak_bytes FROM configurations").to_pylist()
    exact = {row["configuration"]: row["peak_bytes"] for row in known}
    assert peaks == {name: exact[name] for name in peaks}
    assert as_document(made_table, "csv").count("\n") == len(rows) + 1


def test_rows_can_be_several_settings_and_columns_any(study):
    made_table = table(study, rows=("model", "loss"), columns=("batch.size", "dataset"))
    assert made_table.row_names == ("model", "loss")
    groups = printed(made_table).groups
    assert "batch.size 64, synthetic, 100,000 items" in groups
    best = [entry for line in made_table.lines for entry in line.entries if entry.mark == "best"]
    assert len(best) == 3  # one of each data set, however many columns


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"metrics": ("map@10",)}, "no test metric 'map@10'", "did you mean 'mrr@10'?"),
        ({"rows": ("los",)}, "no configuration has a setting 'los'", "did you mean 'loss'?"),
        ({"rows": ("learning_rate",)}, "'learning_rate'", "did you mean 'train.learning_rate'?"),
        ({"study": "quck"}, "the ledger has no study 'quck'", ""),
        ({"rows": ("loss", "loss")}, "'loss' is named twice", "name it once"),
        ({"rows": ()}, "a table needs rows and metrics", "--rows loss"),
    ],
)
def test_names_that_are_not_there_are_refused(study, options, message, hint):
    with pytest.raises(SpecError) as caught:
        table(study, **options)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_study_can_be_taken_alone(fake, ledger):
    ledger.append(
        [
            made(fake, 0, test=0.1, study_id="one"),
            made(fake, 1, test=0.9, batch_size=64, study_id="two"),
        ]
    )
    ledger.add_study("one", "first", "", fake.record().run.started_at)
    (line,) = table(ledger, study="first").lines
    assert line.entries[0].figure.mean == pytest.approx(0.1)


def test_a_row_that_still_rose_is_marked_below_the_table(fake, ledger):
    """Its figures are of no trained model, and a reader of the paper would not know."""
    learned = made(fake, 0, loss="dense_ce", valid=0.1, test=0.1)
    ledger.append([learned, made(fake, 1, loss="rece")])
    found = [note for note in table(ledger).notes if "rising" in note]
    assert found == ["rece: still rising when it ended."]
