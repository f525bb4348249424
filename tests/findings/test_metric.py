"""What a user has set as `evaluate.metric` chooses the best everywhere, and is named there."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from scalelab import api
from scalelab.cli import results
from scalelab.cli.live import LiveState
from scalelab.cli.profile import metric_columns
from scalelab.cli.screen import draw
from scalelab.core.events import Planned, Progress
from scalelab.core.profile_document import profile_document
from scalelab.core.records import Baseline, Memory, Metric, Stopped, UserRanks
from scalelab.core.units import MIB
from scalelab.findings.metrics import usual_metric
from scalelab.findings.sentences import answer
from scalelab.notebook.progress import profile_bar
from scalelab.reporting import page
from scalelab.reporting.configurations import collect
from scalelab.reporting.quality import metric_of
from scalelab.reporting.views import Keys
from scalelab.result_tables.compare import compare
from scalelab.store.ledger import Ledger

USERS = 4000
PLACES = {"data_fingerprint": "synthetic-100000", "protocol": "leave-one-out, seen excluded"}
BASELINES = {"ndcg": 0.30, "hr": 0.45}
ORACLES = {"ndcg": 0.50, "hr": 0.75}
# The share of users whose target is in the list, and its rank there: dense_ce is the better one by
# NDCG@10 (0.400 against 0.173), rece by HR@20 (0.400 against 0.600).
LOSSES = {"dense_ce": (0.4, 1), "rece": (0.6, 10)}


def quality_by(name, share, rank):
    return share / np.log2(1 + rank) if name == "ndcg" else share


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create_or_open(tmp_path / "l.duckdb")


@pytest.fixture
def made(fake):
    """Makes the two runs, chosen by a metric; None: of a spec that names none."""

    def make(metric="hr@20", start=0, batch_size=128):
        found = []
        for index, (loss, (share, rank)) in enumerate(LOSSES.items(), start):
            one = fake.record(index=index, loss=loss, batch_size=batch_size)
            spec = json.loads(one.run.spec)
            if metric is not None:
                spec["evaluate"] = {"k": [1, 5, 10, 20], "metric": metric}
            metrics = tuple(
                Metric(split=split, epoch=1, name=name, k=k, value=quality_by(name, share, rank))
                for split in ("valid", "test")
                for name in ("ndcg", "hr")
                for k in (10, 20)
            ) + tuple(
                Metric(split="test", epoch=1, name=f"oracle_{name}", k=k, value=value)
                for name, value in ORACLES.items()
                for k in (10, 20)
            )
            memory = tuple(
                Memory(
                    stage=stage,
                    kind="requested",
                    component="total",
                    bytes=24 * MIB,
                    reason=None,
                    source="measured",
                )
                for stage in ("train", "eval")
            )
            run = replace(
                one.run,
                spec=json.dumps(spec),
                fingerprint=f"f{index}",
                best_epoch=1,
                epochs=1,
                stopped=Stopped.PATIENCE,
            )
            ranks = tuple(rank * (user < share * USERS) for user in range(USERS))
            found.append(
                replace(
                    one,
                    run=run,
                    metrics=metrics,
                    memory=memory,
                    user_ranks=UserRanks(ranks=ranks),
                    baselines=tuple(
                        Baseline(
                            name="popularity",
                            split=split,
                            metric=name,
                            k=k,
                            value=BASELINES[name],
                            seconds=1.0,
                            **PLACES,
                        )
                        for split in ("valid", "test")
                        for name in BASELINES
                        for k in (10, 20)
                    ),
                )
            )
        return found

    return make


def test_the_answer_is_by_that_metric_and_names_it(made, ledger):
    ledger.append(made())
    one = answer(ledger).sentences[0]
    assert (one.metric, one.best.label) == ("hr@20", "rece, batch 128")
    assert one.clauses["best"].startswith("The best HR@20 on the test users is 0.600, by rece")
    assert one.clauses["distance"] == (
        "The best reaches 80 % of the oracle (0.750, a bound for any model) and is 33 % above the "
        "best baseline, popularity (0.450)."
    )
    assert (one.oracle_quality, one.oracle_ndcg_10) == (0.75, 0.50)
    assert "NDCG" not in one.text
    assert one.is_best
    assert (one.best.valid_quality, one.best.test_quality) == (0.6, 0.6)
    assert one.best.test_ndcg_10 == pytest.approx(0.6 / np.log2(11))
    assert (one.baseline_quality, one.baseline_ndcg_10) == (0.45, 0.30)


def test_a_spec_that_names_none_goes_by_ndcg(made, ledger):
    ledger.append(made(None))
    one = answer(ledger).sentences[0]
    assert (one.metric, one.best.label) == ("ndcg@10", "dense_ce, batch 128")
    assert one.clauses["best"].startswith("The best NDCG@10 on the test users is 0.400")
    assert one.best.test_quality == one.best.test_ndcg_10 == 0.4


def test_the_equal_are_those_whom_the_users_do_not_distinguish_by_that_metric(made, ledger):
    """At rank 1 or 10 a user counts alike for HR@20, whatever NDCG@10 makes of it."""
    first, second = made()
    metrics = [m for m in second.metrics if m.name == "ndcg"]
    metrics += [m for m in first.metrics if m.name == "hr"]
    ranks = UserRanks(ranks=tuple(10 * (user < 0.4 * USERS) for user in range(USERS)))
    ledger.append([first, replace(second, metrics=tuple(metrics), user_ranks=ranks)])
    one = answer(ledger).sentences[0]
    assert not one.is_best
    assert len(one.equal) == 1
    assert one.equal[0].p_value == 1.0


def test_several_metrics_are_answered_apart_and_it_says_so(made, ledger):
    ledger.append([*made("hr@20"), *made("ndcg@10", start=2)])
    found = answer(ledger)
    bests = {one.metric: one.best.label for one in found.sentences}
    assert bests == {"hr@20": "rece, batch 128", "ndcg@10": "dense_ce, batch 128"}
    for one, name in zip(found.sentences, ("HR@20", "NDCG@10"), strict=True):
        assert one.data.endswith(f"by {name}")
        assert f"The best {name} on the test users" in one.text
        # A device is named only where there are several.
        assert "EPYC" not in one.data
    assert "The runs have several metrics (HR@20 and NDCG@10)" in found.text
    assert usual_metric(ledger) == "ndcg@10"


def test_the_views_go_by_that_metric(made, ledger):
    ledger.append(made())
    for view in ("pareto_memory", "best_under_budget('1GiB')"):
        rows = ledger.query(f"FROM {view}").to_pylist()
        assert [(row["loss"], row["quality_metric"]) for row in rows] == [("rece", "hr@20")]
        assert rows[0]["valid_quality"] == rows[0]["test_quality"] == 0.6
        assert rows[0]["valid_ndcg_10"] == pytest.approx(0.6 / np.log2(11))
    ledger.append(made("ndcg@10", start=2))
    rows = ledger.query("SELECT loss, quality_metric FROM pareto_memory").to_pylist()
    assert {tuple(row.values()) for row in rows} == {("rece", "hr@20"), ("dense_ce", "ndcg@10")}


def test_the_table_chooses_by_that_metric_and_shows_it_first(made, ledger):
    ledger.append(made())
    shown = api.table(ledger.path, rows=["model"])
    assert shown.metrics[:3] == ("hr@20", "ndcg@10", "hr@10")
    assert shown.lines[0].entries[0].figure.mean == 0.6
    assert shown.lines[1].is_baseline
    assert shown.lines[1].entries[0].figure.mean == 0.45
    assert shown.lines[1].entries[1].mark == "best"
    assert shown.notes[0].startswith(
        "Test results of the configuration with the best validation HR"
    )
    figures = shown.figures.to_pylist()
    assert {row["quality_metric"] for row in figures} == {"hr@20"}
    assert "The weights with the best HR@20" in api.methods(ledger.path).text


@pytest.mark.slow
def test_the_table_keeps_several_metrics_apart(made, ledger):
    ledger.append([*made("hr@20"), *made("ndcg@10", start=2)])
    shown = api.table(ledger.path, rows=["model"])
    assert [texts[0] for texts in shown.columns] == ["synthetic, by HR@20", "synthetic, by NDCG@10"]
    chosen = [shown.lines[0].entries[place * len(shown.metrics) :] for place in (0, 1)]
    by_metric = [dict(zip(shown.metrics, own, strict=False)) for own in chosen]
    assert [own["hr@20"].figure.mean for own in by_metric] == [0.6, 0.4]
    assert "best validation metric (HR@20 and NDCG@10)" in shown.notes[0]


def test_the_configuration_beside_a_published_figure_is_chosen_by_that_metric(
    made, ledger, tmp_path
):
    """Both are configurations of one loss here."""
    runs = [replace(one, run=replace(one.run, loss="gbce")) for one in made()]
    ledger.append(runs)
    file = tmp_path / "published.csv"
    file.write_text("dataset,model,loss,metric,value\nsynthetic,sasrec,gbce,hr@20,0.5\n")
    rows = compare(ledger, file).to_pylist()
    assert [(row["ours"], row["chosen_by"]) for row in rows] == [(0.6, "hr@20")]


@pytest.mark.slow
def test_the_page_goes_by_that_metric(made, ledger):
    ledger.append(made())
    shown = collect(ledger, Keys())
    assert [row.loss for row in shown.rows if row.is_best] == ["rece"]
    assert [row.loss for row in shown.rows if row.is_on_front] == ["rece"]
    heads = [column.text for column in shown.columns]
    assert {"valid HR@20", "test HR@20"} < set(heads)


@pytest.mark.slow
def test_the_text_and_the_charts_of_the_page_go_by_that_metric(made, ledger):
    ledger.append(made())
    text = page.page(ledger)
    assert "test HR@20" in text
    assert "NDCG@10" not in text
    for name in ("pareto", "learning"):
        drawn = page.draw(ledger, name).to_json()
        assert "HR@20" in drawn
        assert "shown is" not in drawn
    assert "oracle 0.75" in page.draw(ledger, "pareto").to_json()
    other = page.draw(ledger, "pareto", metric="ndcg@10").to_json()
    assert "shown is NDCG@10; notes on runs go by HR@20" in other
    assert "oracle 0.5" in other


def of_study(runs, study):
    return [replace(one, run=replace(one.run, study_id=study)) for one in runs]


@pytest.mark.slow
def test_charts_of_several_metrics_show_that_of_the_last_study_and_say_so(made, ledger):
    ledger.append(of_study(made("ndcg@10", start=2), "newer"))
    ledger.append(of_study(made("hr@20"), "older"))
    day = datetime(2026, 1, 1, tzinfo=UTC)
    ledger.add_study("older", "one", "", day)
    ledger.add_study("newer", "two", "", day + timedelta(days=1))
    for name in ("pareto", "learning"):
        for options, shown, reason in (
            ({}, "NDCG@10", ", by which the last study or run chose"),
            ({"study": "older"}, "HR@20", None),
            ({"study": "newer"}, "NDCG@10", None),
            ({"metric": "hr@20"}, "HR@20", ""),
        ):
            drawn = page.draw(ledger, name, **options).to_json()
            axis = "test" if name == "pareto" else "validation"
            others = {"NDCG@10", "HR@20"} - {shown}
            assert f"{axis} {shown}" in drawn
            assert not any(f"{axis} {other}" in drawn for other in others)
            note = f"shown is {shown}{reason}; notes on runs go by HR@20 and NDCG@10"
            assert (note in drawn) is (reason is not None)
    # Swept again, the older one is the last.
    ledger.add_study("older", "one", "", day + timedelta(days=2))
    assert metric_of(ledger, None).title == "HR@20"
    # A study that took all its runs from another one.
    ledger.add_study("third", "three", "", day + timedelta(days=3))
    ledger.add_reused("third", ["f2", "f3"])
    assert metric_of(ledger, None).title == metric_of(ledger, None, "third").title == "NDCG@10"


@pytest.mark.slow
def test_charts_name_the_metric_of_each_comparison(made, ledger):
    ledger.append([*made("hr@20"), *made("ndcg@10", start=2)])
    assert metric_of(ledger, None).title == "NDCG@10"
    drawn = page.draw(ledger, "pareto").to_json()
    assert "by HR@20, AMD" in drawn
    rows = collect(ledger, Keys()).rows
    assert sorted(row.loss for row in rows if row.is_best) == ["dense_ce", "rece"]


def cell(number, label):
    return Planned(
        run_id=f"f{number}-1",
        label=label,
        device="cpu",
        predicted_bytes=None,
        predicted_s=None,
        finished_before=False,
        skipped_because=None,
    )


def test_the_live_view_goes_by_that_metric(made):
    state = LiveState()
    cells = [cell(number, loss) for number, loss in enumerate(LOSSES)]
    state.on_plan("mine", "cpu", cells)
    for one, run in zip(cells, made(), strict=True):
        state.on_run_start(one.run_id)
        state.on_run_end(replace(run, run=replace(run.run, run_id=one.run_id)))
    now = state.snapshot()
    assert [(point.label, point.valid) for point in now.pareto_front] == [("rece", 0.6)]
    assert {(one.name, one.test) for one in now.baselines} == {("popularity", 0.45)}
    # By NDCG@10 it would be rece that is not above the popularity list.
    assert [run.note.partition(";")[0] for run in now.finished] == [
        "ended no better than the popularity baseline",
        "",
    ]
    screen = Console(width=80, height=24, color_system=None, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(draw(now, 80, 24))
    text = captured.get()
    for words in (
        "last finished: HR@20",
        "Pareto front: HR@20 and memory",
        "baselines, test HR@20",
    ):
        assert words in text
    assert "NDCG" not in text


def test_runs_in_progress_show_the_metric_that_chooses(capsys):
    moved = Progress(
        run_id="f0-1",
        phase="forward",
        epoch=1,
        epochs=3,
        step=1,
        num_steps=2,
        loss=1.0,
        metric=0.4321,
        best_metric=0.4321,
        popularity=None,
        used_bytes=None,
        tokens_per_s=None,
        metric_key="hr@20",
    )
    state = LiveState()
    state.on_plan("mine", "cpu", [cell(0, "rece"), cell(1, "dense_ce")])
    state.on_run_start("f0-1")
    state.on_progress(moved)
    screen = Console(width=80, height=24, color_system=None, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(draw(state.snapshot(), 80, 24))
    head = next(line for line in captured.get().splitlines() if line.startswith("running"))
    assert head.split() == ["running", "epoch", "HR", "memory"]
    with profile_bar() as report:
        report(moved)
    assert "HR@20 0.4321" in capsys.readouterr().err


def test_a_profile_is_judged_by_that_metric(made):
    """By NDCG@10 it would be rece that ended at the popularity list."""
    found = [profile_document(record, {})["at_baseline"] for record in made()]
    assert found == [True, False]


def test_a_profile_shows_the_oracle_beside_test(made):
    """In a column of its own, by the name of the metric."""
    columns = metric_columns(profile_document(made()[0], {})["metrics"])
    assert list(columns) == ["valid", "test", "oracle"]
    assert columns["oracle"]["hr@20"] == 0.75
    assert columns["test"].keys() == columns["oracle"].keys()


def test_the_results_of_a_sweep_go_by_that_metric(made, ledger, capsys):
    ledger.append(made())
    result = SimpleNamespace(
        ledger=ledger.path,
        cells=[cell(number, loss) for number, loss in enumerate(LOSSES)],
        counts={"done": 2},
        interrupted=False,
    )
    results.show_results(result, None)
    text = capsys.readouterr().out
    table, front = text.split("Pareto front")
    assert "Results: HR@20 on validation and test" in table
    assert table.index("rece") < table.index("dense_ce")
    assert "validation HR@20 and memory" in front
    assert "dense_ce" not in front
    assert "0.4500" in front
    assert "no model can expect more than 0.7500 in test HR@20" in text
    assert "NDCG" not in text
