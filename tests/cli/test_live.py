import random
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scalelab.cli.baselines_line import baselines_lines
from scalelab.cli.finished import finished_of
from scalelab.cli.live import LiveState, Running
from scalelab.cli.panels import best_under, meters, running_table, sparkline
from scalelab.cli.pareto_front import ParetoFront, ParetoFronts
from scalelab.cli.screen import draw, summary
from scalelab.core.events import GpuMeter
from scalelab.core.records import Baseline, Outcome, Record
from scalelab.core.units import GIB, MIB

from .simulated import planned, progress, record, simulate


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def text_of(state: LiveState, width: int, height: int) -> list[str]:
    screen = Console(width=width, height=height, force_terminal=False, highlight=False)
    with screen.capture() as captured:
        screen.print(draw(state.snapshot(), width, height))
    return captured.get().splitlines()


def test_every_cell_is_counted_once_whatever_happened_to_it() -> None:
    state = LiveState()
    records = simulate(state, cells=40, workers=3)
    now = state.snapshot()
    assert now.over == now.total == 40
    assert now.counts["before"] == 1
    assert now.counts["skipped"] == 1
    for outcome in {ended.run.outcome for ended in records}:
        wanted = sum(ended.run.outcome is outcome for ended in records)
        assert now.counts[outcome.value] == wanted
    assert now.running == ()
    assert now.left == (0.0, 0.0)


def test_a_skipped_cell_that_also_ends_as_a_record_is_one_cell() -> None:
    state = LiveState()
    cell = planned(0, skipped_because="too large")
    state.on_plan("s", "cpu", [cell])
    state.on_run_end(record(cell, Outcome.SKIPPED))
    assert state.snapshot().counts == {"skipped": 1}


def test_the_end_is_estimated_from_predictions_corrected_by_measurements(clock: Clock) -> None:
    state = LiveState(clock=clock)
    cells = [planned(index, predicted_s=10.0) for index in range(5)]
    state.on_plan("s", "cpu", cells)
    assert state.snapshot().left == pytest.approx((50, 50))
    state.on_run_start("run-0")
    clock.now += 4
    assert state.snapshot().left == pytest.approx((46, 46))
    clock.now += 16
    state.on_run_end(record(cells[0]))
    # It took twice as long as was predicted: so will the other four.
    assert state.snapshot().left == pytest.approx((80, 80))


def test_runs_beside_one_another_end_sooner(clock: Clock) -> None:
    state = LiveState(workers=2, clock=clock)
    state.on_plan("s", "cpu", [planned(index, predicted_s=10.0) for index in range(4)])
    state.on_run_start("run-0")
    state.on_run_start("run-1")
    clock.now += 5
    assert state.snapshot().left == pytest.approx((15, 15))


def test_without_predictions_the_mean_of_finished_runs_is_the_estimate(clock: Clock) -> None:
    state = LiveState(clock=clock)
    cells = [planned(index, predicted_s=None) for index in range(3)]
    state.on_plan("s", "cpu", cells)
    assert state.snapshot().left is None
    state.on_run_start("run-0")
    clock.now += 7
    state.on_run_end(record(cells[0]))
    assert state.snapshot().left == pytest.approx((14, 14))


def test_elapsed_time_stops_with_the_sweep(clock: Clock) -> None:
    state = LiveState(clock=clock)
    state.on_plan("s", "cpu", [])
    clock.now += 3
    state.on_end()
    clock.now += 100
    assert state.snapshot().elapsed_s == pytest.approx(3)


points = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(1, 8)), min_size=1, max_size=40
)


@given(points)
def test_the_front_is_what_nothing_beats(runs: list[tuple[int, int, int]]) -> None:
    """Against the definition, with seeds of a configuration arriving in any order."""
    pareto_front = ParetoFront()
    seen: dict[str, list[tuple[float, int]]] = {}
    for number, quality, peak in runs:
        cell = planned(number)
        finished = finished_of("label", record(cell, quality=quality / 8, peak=peak))
        pareto_front.add(str(number), "label", finished)
        seen.setdefault(str(number), []).append((quality / 8, peak))
    means = {
        (sum(q for q, _ in values) / len(values), round(sum(p for _, p in values) / len(values)))
        for values in seen.values()
    }
    wanted = {
        (quality, peak)
        for quality, peak in means
        if not any(q >= quality and p <= peak and (q, p) != (quality, peak) for q, p in means)
    }
    assert {(point.valid, point.peak_bytes) for point in pareto_front.points()} == wanted


def test_the_best_under_a_budget_is_the_best_that_fits() -> None:
    state = LiveState(budget_bytes=GIB)
    cells = [planned(index) for index in range(3)]
    state.on_plan("s", "cpu", cells)
    for cell, quality, peak in zip(cells, (0.3, 0.2, 0.1), (600, 300, 100), strict=True):
        state.on_run_end(record(cell, quality=quality, peak=peak * MIB))
    now = state.snapshot()
    assert now.budgets == (GIB, 512 * MIB, 256 * MIB, 128 * MIB)
    found = [best_under(point, now.pareto_front, now.budgets) for point in now.pareto_front]
    assert found == [[GIB], [512 * MIB], [256 * MIB, 128 * MIB]]


def test_the_best_under_a_budget_is_of_its_own_data() -> None:
    state = LiveState(budget_bytes=GIB)
    cells = [planned(index) for index in range(2)]
    state.on_plan("s", "cpu", cells)
    for cell, quality, data in zip(cells, (0.3, 0.2), ("small", "large"), strict=True):
        made = record(cell, quality=quality, peak=600 * MIB)
        state.on_run_end(replace(made, run=replace(made.run, data_fingerprint=data)))
    now = state.snapshot()
    found = [best_under(point, now.pareto_front, now.budgets) for point in now.pareto_front]
    assert found == [[GIB], [GIB]]


def test_what_evaluation_needs_counts_against_a_budget() -> None:
    state = LiveState(budget_bytes=GIB)
    cells = [planned(index) for index in range(2)]
    state.on_plan("s", "cpu", cells)
    good, small = (
        record(cell, quality=quality, peak=peak * MIB)
        for cell, quality, peak in zip(cells, (0.3, 0.2), (300, 100), strict=True)
    )
    memory = tuple(
        replace(fact, bytes=900 * MIB) if fact.stage == "eval" else fact for fact in good.memory
    )
    state.on_run_end(replace(good, memory=memory))
    state.on_run_end(small)
    now = state.snapshot()
    found = [best_under(point, now.pareto_front, now.budgets) for point in now.pareto_front]
    assert found == [[GIB], [512 * MIB, 256 * MIB, 128 * MIB]]


def test_the_next_attempt_of_a_lost_run_is_the_same_cell() -> None:
    state = LiveState()
    cell = planned(0, run_id="abc-1")
    state.on_plan("s", "cpu", [cell, planned(1)])
    state.on_run_start("abc-1")
    state.on_run_end(record(cell, Outcome.INTERRUPTED))
    state.on_run_start("abc-2")
    now = state.snapshot()
    assert (now.total, now.over) == (2, 0)
    assert now.running[0].label == cell.label
    state.on_run_end(record(planned(0, run_id="abc-2")))
    assert (state.snapshot().total, state.snapshot().over) == (2, 1)


def test_runs_on_different_data_share_no_front() -> None:
    state = LiveState()
    cells = [planned(0), planned(1)]
    state.on_plan("s", "cpu", cells)
    state.on_run_end(record(cells[0], quality=0.9, peak=MIB, data="small"))
    state.on_run_end(record(cells[1], quality=0.1, peak=GIB, data="large"))
    assert len(state.snapshot().pareto_front) == 2


def test_a_fault_becomes_one_line_of_message() -> None:
    state = LiveState()
    state.on_plan("s", "cpu", [planned(0)])
    state.on_run_start("run-0")
    state.on_run_end(record(planned(0), Outcome.FAILED))
    (message,) = state.snapshot().messages
    assert message.startswith("failed in backward: loss=cross_entropy")
    assert "\n" not in message


@pytest.mark.parametrize(("width", "height"), [(80, 22), (200, 48), (80, 10), (40, 5), (80, 3)])
@pytest.mark.parametrize("moment", [0, 5, 60, 200, 400])
def test_the_picture_fits_whatever_happens(width: int, height: int, moment: int) -> None:
    class Enough(Exception):
        pass

    state = LiveState(GIB)
    left = [moment]

    def pause() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Enough

    try:
        simulate(state, cells=60, workers=12, pause=pause)
    except Enough:
        pass
    lines = text_of(state, width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_the_picture_at_80_columns_says_what_matters(clock: Clock) -> None:
    state = LiveState(100 * MIB, clock=clock)
    cells = [planned(index) for index in range(4)]
    state.on_plan("quick", "cpu", cells)
    state.on_run_start("run-0")
    state.on_run_end(record(cells[0], quality=0.0712, peak=40 * MIB))
    state.on_run_start("run-1")
    state.on_progress(progress("run-1", 3))
    state.on_message("a worker was replaced")
    clock.now += 65
    lines = text_of(state, 80, 22)
    text = "\n".join(lines)
    assert "quick on cpu, 1m 05s elapsed" in lines[0]
    assert lines[1].endswith("1/4")
    assert lines[2] == "1 done, 1 running, 2 waiting"
    running = next(line for line in lines if "loss bce" in line)
    for word in ("3/10", "0.0120", "15 MiB", "15%"):
        assert word in running
    for word in ("0.0712", "0.0641", "40 MiB", "1.5 s", "best under", "a worker was replaced"):
        assert word in text


@pytest.mark.slow
def test_ten_thousand_cells_cost_little(clock: Clock) -> None:
    """Work per event must not grow with the number of cells: events are counted, not timed."""
    state = LiveState(clock=clock)
    cells = [planned(index) for index in range(10_000)]
    state.on_plan("s", "cpu", cells)
    rng = random.Random(1)
    for cell in cells:
        state.on_run_start(cell.run_id)
        state.on_run_end(record(cell, quality=rng.random(), peak=rng.randrange(1, GIB)))
    now = state.snapshot()
    assert now.over == 10_000
    assert len(now.finished) <= 100


def test_before_the_plan_is_there_it_says_so() -> None:
    assert text_of(LiveState(), 80, 22) == ["planning, 1 s"]


def test_a_summary_names_outcomes_in_a_fixed_order() -> None:
    assert summary({"oom": 1, "done": 2, "before": 3}) == "2 done, 3 done before, 1 oom"


def baselines(popularity: float = 0.05, follower: float = 0.08) -> tuple[Baseline, ...]:
    return tuple(
        Baseline(
            data_fingerprint="d1",
            protocol="leave-one-out",
            name=name,
            split=split,
            metric="ndcg",
            k=10,
            value=value,
            seconds=0.1,
        )
        for name, value in (("popularity", popularity), ("last_item_follower", follower))
        for split in ("valid", "test")
    )


def test_baselines_and_notes_stand_in_the_live_view() -> None:
    """The first run of a data set brings its baselines; they hold for those that follow."""
    state = LiveState()
    cells = [planned(index, label=f"run {index}") for index in range(3)]
    state.on_plan("s", "cpu", cells)
    first = replace(record(cells[0], quality=0.05), baselines=baselines())
    for ended in (first, record(cells[1], quality=0.08), record(cells[2], quality=0.2)):
        state.on_run_start(ended.run.run_id)
        state.on_run_end(ended)
    now = state.snapshot()
    assert [run.note for run in now.finished] == [
        "ended no better than the popularity baseline; "
        "below the baseline last item follower (0.0800)",
        "below the baseline last item follower (0.0800)",
        "",
    ]
    assert [(one.name, one.test) for one in now.baselines] == [
        ("last item follower", 0.08),
        ("popularity", 0.05),
    ]
    screen = Console(width=100, height=30, color_system=None)
    with screen.capture() as captured:
        screen.print(draw(now, 100, 30))
    picture = captured.get()
    assert "baselines, test NDCG@10: last item follower 0.0800, popularity 0.0500" in picture
    ended = picture[picture.index("finished") :]
    rows = [line for line in ended.splitlines() if line.startswith("run, ")]
    assert [line.split()[-1] for line in rows if "baseline" in line] == ["baseline", "baseline"]


def test_baselines_of_several_data_sets_are_named_and_the_answer_leaves_room_beside_it() -> None:
    state = LiveState()
    cells = [planned(index, label=f"run {index}") for index in range(2)]
    state.on_plan("s", "cpu", cells)
    for cell, num_items in zip(cells, (1000, 4000), strict=True):
        one = record(cell, quality=0.2)
        run = replace(one.run, num_items=num_items, data_fingerprint=f"d{num_items}")
        state.on_run_start(run.run_id)
        state.on_run_end(replace(one, run=run, baselines=baselines(num_items / 1e5, 0.08)))
    screen = Console(width=200, height=50, color_system=None)
    with screen.capture() as captured:
        screen.print(draw(state.snapshot(), 200, 50, answer="take bce"))
    picture = captured.get()
    assert (
        "baselines, test NDCG@10: 1,000 items: last item follower 0.0800, popularity 0.0100; "
        "4,000 items: last item follower 0.0800, popularity 0.0400"
    ) in picture
    assert "take bce" in picture
    assert "finished" in picture


def ended(number: int, **changed: object) -> Record:
    """A run whose baselines are those of its data."""
    one = record(planned(number, label=f"run {number}"), quality=0.2)
    own = baselines(0.01 * (number + 1))
    return replace(one, run=replace(one.run, **changed), baselines=own)


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({"protocol": "leave-one-out"}, {"protocol": "time"}, ("leave-one-out", "time")),
        ({"num_users": 10}, {"num_users": 2000}, ("10 users", "2,000 users")),
        ({"data_fingerprint": "d7"}, {"data_fingerprint": "d8"}, ("data d7", "data d8")),
        ({"dataset": "toys"}, {"dataset": "beauty", "num_items": 3}, ("toys", "beauty")),
    ],
)
def test_baselines_are_named_by_what_distinguishes_their_data(
    first: dict, second: dict, names: tuple[str, str]
) -> None:
    state = LiveState()
    state.on_plan("s", "cpu", [planned(number, label=f"run {number}") for number in range(2)])
    for one in (ended(0, **first), ended(1, **{"data_fingerprint": "d2"} | second)):
        state.on_run_start(one.run.run_id)
        state.on_run_end(one)
    each = [
        f"{names[0]}: last item follower 0.0800, popularity 0.0100",
        f"{names[1]}: last item follower 0.0800, popularity 0.0200",
    ]
    found = state.snapshot().baselines
    head = "baselines, test NDCG@10:"
    assert [line.plain for line in baselines_lines(found, 200)] == [f"{head} {'; '.join(each)}"]
    # Nothing is cut off where one line is too long.
    assert [line.plain for line in baselines_lines(found, 80)] == [head, *each]


@pytest.mark.parametrize(
    ("keys", "head"),
    [
        (("ndcg@10", "ndcg@10"), "NDCG"),
        (("hr@5", "hr@5"), "HR"),
        (("hr@5", "mrr@10"), "valid"),
        (("coverage_of@10", "coverage_of@10"), "valid"),
    ],
)
def test_the_column_of_quality_has_the_name_of_the_metric(keys: tuple[str, ...], head: str) -> None:
    runs = tuple(
        Running(
            label=f"run {number}",
            elapsed_s=1.0,
            progress=progress(f"run-{number}", 3, metric_key=key),
            limit_bytes=None,
            curve=(),
        )
        for number, key in enumerate(keys)
    )
    table = running_table(runs, tuple(run.label for run in runs), 80, 10)
    assert table.columns[2].header == head


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_configuration_that_lost_a_seed_is_on_no_pareto_front(when: str) -> None:
    """As in the ledger. Nor does it cover others, whenever its seed is lost."""
    fronts = ParetoFronts()
    if when == "before":
        fronts.lose("lucky")
    for settings, quality in (("lucky", 0.9), ("steady", 0.2)):
        finished = finished_of(settings, record(planned(0), quality=quality))
        fronts.add(("cpu",), settings, settings, finished)
    if when == "after":
        assert [point.label for point in fronts.points()] == ["lucky"]
        fronts.lose("lucky")
    assert [point.label for point in fronts.points()] == ["steady"]


def test_a_sweep_that_lost_a_seed_says_so_live_too(clock: Clock) -> None:
    state = LiveState(clock=clock)
    one, other = planned(0), planned(1)
    state.on_plan("s", "cpu", [one, other])
    made = record(one, quality=0.4)
    state.on_run_end(made)
    assert len(state.snapshot().pareto_front) == 1
    lost = replace(made.run, run_id=other.run_id, outcome=Outcome.OOM, error="out of memory")
    state.on_run_end(replace(made, run=lost, metrics=()))
    assert state.snapshot().pareto_front == ()


def test_a_point_counts_the_seeds_of_its_notes() -> None:
    pareto_front = ParetoFront()
    for note in ("still rising when it ended", "", "still rising when it ended"):
        finished = finished_of("label", record(planned(0), quality=0.2))
        pareto_front.add("a", "label", replace(finished, note=note))
    assert [point.note for point in pareto_front.points()] == [
        "still rising when it ended (2 of 3 seeds)"
    ]


def test_a_sparkline_is_as_high_as_its_values() -> None:
    levels = [chr(code) for code in range(0x2581, 0x2589)]
    assert sparkline([0.0, 0.5, 1.0]) == levels[0] + levels[4] + levels[7]
    assert sparkline(range(20), 4) == levels[0] + levels[2] + levels[5] + levels[7]
    assert sparkline([0.3, 0.3]) == 2 * levels[0]
    assert sparkline([0.3]) == ""
    assert sparkline([0, 1], ascii_only=True).isascii()


def test_the_curve_of_a_run_has_one_point_for_each_evaluation() -> None:
    state = LiveState()
    state.on_plan("s", "cpu", [planned(0)])
    state.on_run_start("run-0")
    for epoch, metric in ((1, None), (2, 0.1), (3, 0.1), (4, 0.2)):
        state.on_progress(progress("run-0", epoch, metric=metric))
    assert state.snapshot().running[0].curve == (0.1, 0.2)


def test_before_the_first_run_the_view_says_what_is_being_done() -> None:
    state = LiveState()
    state.on_activity("predicting memory and time of 4 configurations")
    (line,) = text_of(state, 80, 22)
    assert line == "predicting memory and time of 4 configurations, 1 s"
    state.on_plan("quick", "cpu", [planned(index) for index in range(4)])
    state.on_activity("starting the first process")
    assert text_of(state, 80, 22)[2] == "0 running, 4 waiting: starting the first process"


def test_the_range_of_the_end_narrows_and_its_middle_follows_what_was_measured(
    clock: Clock,
) -> None:
    state = LiveState(clock=clock)
    cells = [planned(index, predicted_s=10.0, predicted_range_s=(5.0, 20.0)) for index in range(5)]
    state.on_plan("s", "cpu", cells)
    assert state.snapshot().left == pytest.approx((25, 100))
    for number in range(3):
        state.on_run_start(f"run-{number}")
        clock.now += 30
        state.on_run_end(record(cells[number]))
    # Two are left, at 30 s each; three have told how fast the machine is: 2 ** (1 / 2).
    assert state.snapshot().left == pytest.approx((60 * 2**-0.5, 60 * 2**0.5))


def test_a_first_run_that_takes_longer_than_predicted_moves_the_end_before_it_is_over(
    clock: Clock,
) -> None:
    state = LiveState(clock=clock)
    state.on_plan("s", "cpu", [planned(index, predicted_s=10.0) for index in range(3)])
    state.on_run_start("run-0")
    clock.now += 40
    assert state.snapshot().left == pytest.approx((80, 80))


@pytest.mark.parametrize(("width", "height"), [(80, 22), (200, 48)])
def test_no_two_runs_share_a_text(width: int, height: int) -> None:
    state = LiveState(GIB)
    labels = [
        f"sampled_softmax size={size} num_negatives={number} num_items={items}"
        for size in (32, 128)
        for number in (16, 128)
        for items in (1000, 4000)
    ]
    cells = [planned(index, label=label) for index, label in enumerate(labels)]
    state.on_plan("quick", "cpu", cells)
    for number, cell in enumerate(cells):
        state.on_run_start(cell.run_id)
        if number < 5:
            state.on_run_end(record(cell, quality=0.01 * (9 - number), peak=(9 - number) * MIB))
    text = "\n".join(text_of(state, width, height))
    for size in (32, 128):
        for number in (16, 128):
            assert re.search(rf"sampled_softmax,? batch ?{size},? {number} ?neg,? [14] ?k", text)
    running = text[text.index("running") :].splitlines()
    names = [line.partition("items")[0] for line in running if "sampled" in line and "..." in line]
    assert len(set(names)) == len(names) == 3


def test_a_gpu_has_one_line_with_its_memory_load_and_power() -> None:
    meter = GpuMeter(
        name="H100", used_bytes=20 * GIB, memory_bytes=80 * GIB, busy_percent=93.0, watts=401.2
    )
    blind = replace(meter, name="old", used_bytes=None, busy_percent=None, watts=None)
    screen = Console(width=80, color_system=None)
    with screen.capture() as captured:
        screen.print(meters([meter, blind]))
    lines = captured.get().splitlines()
    assert len(lines) == 3
    for word in ("H100", "20 GiB of 80 GiB", "93%", "401 W"):
        assert word in lines[1]
    assert lines[2].split() == ["old"]
