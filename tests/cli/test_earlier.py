"""What the live view of a resumed sweep takes from the starts before it."""

from dataclasses import replace

from scalelab.cli.earlier import earlier_of
from scalelab.cli.finished import comparable, configuration_of_record, finished_of
from scalelab.cli.live import LiveState
from scalelab.core.events import Planned
from scalelab.core.records import Outcome
from scalelab.store.ledger import Ledger


def _cell(record, *, before):
    return Planned(
        run_id=f"{record.run.fingerprint}-1",
        label=f"loss={record.run.loss}",
        device="cpu",
        predicted_bytes=None,
        predicted_s=None,
        finished_before=before,
        skipped_because=None,
    )


def _run_of_its_cell(record):
    return replace(record, run=replace(record.run, run_id=f"{record.run.fingerprint}-1"))


def test_it_is_what_the_earlier_sweep_showed_itself(fake, tmp_path):
    records = [fake.record(index=i, loss=loss) for i, loss in enumerate(("dense_ce", "rece"))]
    lost = fake.record(index=2, loss="gbce", outcome=Outcome.OOM)
    Ledger.create_or_open(tmp_path / "a.duckdb").append([*records, lost])
    cells = [_cell(one, before=True) for one in (*records, lost)]
    found = earlier_of(tmp_path / "a.duckdb", cells)
    by_loss = {run.finished.label: run for run in found.runs}
    assert by_loss.keys() == {"loss=dense_ce", "loss=rece"}
    for one, cell in zip(records, cells, strict=False):
        run = by_loss[cell.label]
        shown = finished_of(cell.label, one)
        assert run.comparison == comparable(one)
        assert run.configuration == configuration_of_record(one)
        assert (run.finished.valid, run.finished.test) == (shown.valid, shown.test)
        assert (run.finished.peak_bytes, run.finished.train_s) == (shown.peak_bytes, shown.train_s)


def test_the_front_of_a_resumed_sweep_holds_what_was_done_before(fake, tmp_path):
    """A run of today is on the front only if none of yesterday beats it."""
    records = [fake.record(index=i, loss=loss) for i, loss in enumerate(("dense_ce", "rece"))]
    whole = LiveState()
    whole.on_plan("s", "cpu", [_cell(one, before=False) for one in records])
    for one in records:
        whole.on_run_end(_run_of_its_cell(one))
    Ledger.create_or_open(tmp_path / "a.duckdb").append(records[:1])
    resumed = LiveState(earlier=lambda cells: earlier_of(tmp_path / "a.duckdb", cells))
    cells = [_cell(one, before=one is records[0]) for one in records]
    resumed.on_plan("s", "cpu", cells)
    resumed.on_plan("s", "cpu", cells)  # as a search plans again: nothing counts twice
    resumed.on_run_end(_run_of_its_cell(records[1]))
    assert resumed.snapshot().pareto_front == whole.snapshot().pareto_front
    assert len(resumed.snapshot().finished) == 1
