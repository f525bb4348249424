"""Interrupt a sweep and start it again: what is done stays, what is not is run."""

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

from call import Call, OutOfTime

import scalelab

__all__ = ["run"]

NUMBER = 2


def run(call: Call) -> None:
    """The sweep is a process of its own, as a user's is; forked, to spare the imports."""
    study = call.scratch / "resumed.toml"
    sizes = ", ".join(str(32 + 8 * place) for place in range(NUMBER))
    steps = 150 if call.is_cuda else 10
    users = 500 if call.is_cuda else 150
    study.write_text(
        f"""base = "sasrec-synthetic"
[set]
"data.num_users" = {users}
"data.num_items" = 3000
"train.epochs" = 50
"train.patience" = 0
"train.max_steps" = {steps}
"train.eval_every" = 10
"data.max_eval_users" = 64
[axes]
"batch.size" = [{sizes}]
""",
        encoding="utf-8",
    )
    ledger = call.scratch / "resumed.duckdb"
    ledger.unlink(missing_ok=True)
    first = _start(call, study, ledger)
    while first.is_alive() and not _outcomes(ledger)["done"]:
        call.need(1)
        time.sleep(0.1)
    if first.is_alive() and first.pid is not None:
        os.kill(first.pid, signal.SIGINT)
    status = _ended(call, first)
    before = _rows(ledger)
    interrupted = Counter(row["outcome"] for row in before)
    call.note(interrupted_exit_status=status, interrupted=dict(interrupted))
    call.check("it was interrupted before its end", interrupted["done"] < NUMBER, interrupted)
    status = _ended(call, _start(call, study, ledger))
    outcomes = _outcomes(ledger)
    call.note(resumed_exit_status=status, resumed=dict(outcomes))
    call.check("all are done in the end", outcomes["done"] == NUMBER, dict(outcomes))
    kept = {row["run_id"] for row in before if row["outcome"] == "done"}
    after = {row["run_id"] for row in _rows(ledger) if row["outcome"] == "done"}
    call.check("what was done is not run again", kept <= after and len(after) == NUMBER)


def _start(call: Call, study: Path, ledger: Path) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(
        target=_sweep, args=(study, ledger, call.device)
    )
    process.start()
    return process


def _sweep(study: Path, ledger: Path, device: str) -> None:
    sys.exit(130 if scalelab.sweep(study, ledger=ledger, device=device).interrupted else 0)


def _ended(call: Call, process: BaseProcess) -> int | None:
    """Its exit status. Raises OutOfTime where it does not end in time; the call ends it then."""
    process.join(max(1.0, call.left()))
    if process.is_alive():
        raise OutOfTime("the sweep did not end")
    return process.exitcode


def _rows(ledger: Path) -> list[dict[str, str]]:
    return scalelab.query(ledger, "SELECT run_id, outcome FROM runs").to_pylist()


def _outcomes(ledger: Path) -> Counter[str]:
    if not ledger.exists():
        return Counter()
    return Counter(row["outcome"] for row in _rows(ledger))
