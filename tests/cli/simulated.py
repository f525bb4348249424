"""A sweep that announces itself and runs nothing: for tests of the terminal UI, and to look at it.

python tests/cli/simulated.py [CELLS [WORKERS [SECONDS]]]
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from scalelab.core.events import Planned, Progress, SweepObserver
from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.records import Environment, Memory, Metric, Outcome, Record, Run
from scalelab.core.units import MIB

LOSSES = ("cross_entropy", "bce", "rece", "sampled_softmax")
ENDINGS = (Outcome.DONE,) * 8 + (Outcome.OOM, Outcome.FAILED)


def planned(index: int, **changed: object) -> Planned:
    """Cell `index`: loss and batch size vary."""
    loss, size = LOSSES[index % 4], 32 << (index // 4 % 5)
    facts = {
        "run_id": f"run-{index}",
        "label": f"loss={loss} batch.size={size} seed={index // 20}",
        "device": "cpu",
        "predicted_bytes": (20 + 3 * index) * MIB,
        "predicted_s": 1.0 + index % 4,
        "finished_before": False,
        "skipped_because": None,
    }
    return Planned(**(facts | changed))


def progress(run_id: str, epoch: int, **changed: object) -> Progress:
    """Somewhere in `epoch` of 10."""
    facts = {
        "run_id": run_id,
        "phase": "backward",
        "epoch": epoch,
        "epochs": 10,
        "step": 3,
        "num_steps": 40,
        "loss": 7.5,
        "metric": 0.004 * epoch,
        "best_metric": 0.004 * epoch,
        "popularity": 0.0008,
        "used_bytes": 15 * MIB,
        "tokens_per_s": 12_345.0,
    }
    return Progress(**(facts | changed))


def record(
    cell: Planned,
    outcome: Outcome = Outcome.DONE,
    *,
    quality: float = 0.05,
    peak: int = 40 * MIB,
    seed: int = 0,
    data: str = "d1",
) -> Record:
    """What a run of `cell` would leave behind."""
    done = outcome is Outcome.DONE
    settings = cell.label.rpartition(" seed")[0]
    run = Run(
        run_id=cell.run_id,
        study_id="s",
        fingerprint=cell.run_id,
        attempt=1,
        outcome=outcome,
        phase=None if done else "backward",
        error=None if done else f"{outcome.value} on\npurpose",
        dataset="simulated",
        data_fingerprint=data,
        num_users=10,
        num_items=20,
        num_interactions=100,
        protocol="leave-one-out",
        model="sasrec",
        loss="bce",
        batch_size=32,
        max_len=50,
        hidden_dim=64,
        num_negatives=0,
        seed=seed,
        spec=f'{{"settings": "{settings}", "train": {{"seed": {seed}}}}}',
        started_at=datetime(2026, 1, 1),
        wall_s=2.0,
        train_s=1.5,
        eval_s=0.2,
        best_epoch=9,
        epochs=10,
        tokens_per_s=1e4,
        wait_fraction=0.0,
        resolved=None,
        origin=None,
        stopped=None,
        account_error=None,
        tied_targets=None,
        repeated_targets=None,
        results_version=RESULTS_VERSION,
    )
    metrics = tuple(
        Metric(split=split, epoch=9, name="ndcg", k=10, value=quality * factor)
        for split, factor in (("valid", 1.0), ("test", 0.9))
    )
    memory = Memory(
        stage="train",
        kind="requested",
        component="total",
        bytes=peak,
        reason=None,
        source="measured",
    )
    evaluation = replace(memory, stage="eval", bytes=1)
    environment = Environment(
        host="h",
        device="some cpu",
        device_bytes=None,
        driver=None,
        torch="2",
        python="3",
        scalelab="0",
        commit=None,
        threads=1,
    )
    return Record(
        run=run,
        metrics=metrics if done else (),
        memory=(memory, evaluation),
        environment=environment,
    )


def simulate(
    observer: SweepObserver,
    *,
    cells: int = 40,
    workers: int = 2,
    pause: Callable[[], None] = lambda: None,
) -> list[Record]:
    """Announce a whole sweep; `pause` is called after every event. Returns the records."""
    rng = random.Random(0)
    plan = [planned(index) for index in range(cells)]
    plan[0] = planned(0, finished_before=True)
    plan[-1] = planned(cells - 1, skipped_because="needs 80 GiB, the budget is 1 GiB")
    observer.on_plan("simulated", "cpu", plan)
    observer.on_run_end(record(plan[-1], Outcome.SKIPPED))
    waiting = [cell for cell in plan if not (cell.finished_before or cell.skipped_because)]
    running: list[tuple[Planned, int]] = []
    records = []
    while waiting or running:
        while waiting and len(running) < workers:
            running.append((waiting.pop(0), 0))
            observer.on_run_start(running[-1][0].run_id)
            pause()
        cell, epoch = running.pop(rng.randrange(len(running)))
        if epoch < 10:
            observer.on_progress(progress(cell.run_id, epoch + 1))
            running.append((cell, epoch + 1))
        else:
            quality, peak = rng.uniform(0.01, 0.08), rng.randrange(20, 200) * MIB
            ended = record(cell, rng.choice(ENDINGS), quality=quality, peak=peak)
            records.append(ended)
            observer.on_run_end(ended)
            if len(records) % 7 == 0:
                observer.on_message(f"message {len(records)}: a worker was replaced")
        pause()
    observer.on_end()
    return records


def main(cells: int = 40, workers: int = 2, seconds: float = 20.0) -> None:
    """Show a simulated sweep as `scalelab sweep` would."""
    from scalelab.cli.watch import watching

    with watching(256 * MIB, workers, quiet=False) as observer:
        simulate(
            observer,
            cells=cells,
            workers=workers,
            pause=lambda: time.sleep(seconds / cells / 12),
        )
    print("the end")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(int(text) for text in given[:2]), *(float(text) for text in given[2:3]))
