"""Interrupt a sweep and start it again: what is done stays, what is not is run."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from call import Call, OutOfTime

import scalelab

__all__ = ["run"]

NUMBER = 2


def run(call: Call) -> None:
    """The sweep is a process of its own, as a user's is."""
    try:
        _interrupt_and_resume(call)
    except subprocess.TimeoutExpired as error:
        raise OutOfTime("the sweep did not end") from error


def _interrupt_and_resume(call: Call) -> None:
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
    words = [sys.executable, "-m", "scalelab", "sweep", str(study), "--ledger", str(ledger)]
    words += ["--device", call.device]
    with (call.scratch / "first.txt").open("w") as text:
        process = subprocess.Popen(words, stdout=text, stderr=subprocess.STDOUT)
    while process.poll() is None and not _outcomes(ledger)["done"]:
        call.need(1)
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    status = process.wait(timeout=max(1.0, call.left()))
    before = _rows(ledger)
    interrupted = Counter(row["outcome"] for row in before)
    call.note(interrupted_exit_status=status, interrupted=dict(interrupted))
    call.check("it was interrupted before its end", interrupted["done"] < NUMBER, interrupted)
    again = subprocess.run(words, capture_output=True, text=True, timeout=max(1.0, call.left()))
    outcomes = _outcomes(ledger)
    call.note(resumed_exit_status=again.returncode, resumed=dict(outcomes))
    call.check("all are done in the end", outcomes["done"] == NUMBER, again.stdout[-200:])
    kept = {row["run_id"] for row in before if row["outcome"] == "done"}
    after = {row["run_id"] for row in _rows(ledger) if row["outcome"] == "done"}
    call.check("what was done is not run again", kept <= after and len(after) == NUMBER)


def _rows(ledger: Path) -> list[dict[str, str]]:
    return scalelab.query(ledger, "SELECT run_id, outcome FROM runs").to_pylist()


def _outcomes(ledger: Path) -> Counter[str]:
    if not ledger.exists():
        return Counter()
    return Counter(row["outcome"] for row in _rows(ledger))
