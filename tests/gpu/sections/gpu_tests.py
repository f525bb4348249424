"""Run the tests that need a GPU, `pytest -m gpu`, and keep their counts and failures."""

import os
import signal
import subprocess
import sys

from call import ROOT, Call

__all__ = ["run"]

# Rooms with code for GPUs. The others have no such tests, and packages that a GPU machine may lack.
ROOMS = ("gpu", "train", "losses", "models", "batches", "measure", "planning")


def run(call: Call) -> None:
    """All of them; on a CPU they are collected only."""
    words = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--no-header", "--tb=short"]
    words += ["-p", "no:cacheprovider", "-rfE", "--durations=12"]
    # Several processes share the GPU; the tests of one sweep stay in one of them.
    words += ["-n", str(min(8, os.cpu_count() or 1)), "--dist", "loadgroup"]
    words += [f"tests/{room}" for room in ROOMS] + ([] if call.is_cuda else ["--collect-only"])
    path = call.out / "pytest.txt"
    with path.open("w", encoding="utf-8") as text:
        process = subprocess.Popen(words, cwd=ROOT, stdout=text, stderr=subprocess.STDOUT)
        try:
            status = process.wait(timeout=max(1.0, call.left() - 2))
        except subprocess.TimeoutExpired:
            status = None
            # Asked to stop, pytest still says what has failed by then.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines[-60:] if call.is_cuda else lines[-1:]:
        call.say(line[:300])
    call.note(
        exit_status=status,
        last_line=lines[-1] if lines else "",
        # Of each test's own line, which is there also where pytest could not end.
        failed=[line[:200] for line in lines if " FAILED" in line or " ERROR" in line][:60],
    )
    call.check("pytest -m gpu passes", status == 0, lines[-1] if lines else "no output")
