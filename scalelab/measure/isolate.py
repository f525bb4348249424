"""A spec in, the record of its run in a fresh process out.

A process of its own keeps allocator state, imports and a death by the kernel's memory killer out of
the next run. The child is `python -m scalelab.measure.isolate`: it reads one request from its standard
input and answers with messages on its standard output, both pickled, between parent and child only.
What the run prints or logs goes to standard error.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO

from scalelab.core.events import Progress
from scalelab.core.records import Outcome, Record
from scalelab.core.spec import RunSpec
from scalelab.measure.session import Limits, new_row, run

__all__ = ["run_isolated"]

# How long a child that was asked to stop may still work, beyond its own epoch, before it is ended.
_GRACE_S = 600.0
_LAST_LINES = 2000


def run_isolated(
    spec: RunSpec,
    *,
    run_id: str,
    study_id: str | None = None,
    attempt: int = 1,
    limits: Limits | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool | Outcome] = lambda: False,
    env: dict[str, str] | None = None,
    **options: Any,
) -> Record:
    """As `session.run`, in a fresh process. `stop` is asked a few times a second.

    A child killed by the kernel is out of memory; one that dies otherwise has failed, with the last
    line it wrote. `env` adds to the child's environment (CUDA_VISIBLE_DEVICES, say).
    """
    begun = time.perf_counter()
    row = new_row(spec, run_id=run_id, study_id=study_id, attempt=attempt)
    request = {"spec": spec, "run_id": run_id, "study_id": study_id, "attempt": attempt}
    request |= {"limits": limits, **options}
    child = subprocess.Popen(
        [sys.executable, "-m", "scalelab.measure.isolate"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        # The terminal's Ctrl-C must not hit the child: it is asked to stop at the end of its epoch.
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    last_phase: list[str] = []
    errors: list[bytes] = []
    answer: list[Record | BaseException] = []

    def listen(stream: BinaryIO) -> None:
        for kind, value in _messages(stream):
            if kind == "progress":
                last_phase[:] = [value.phase]
                report(value)
            else:
                answer.append(value)

    def collect(stream: BinaryIO) -> None:
        for line in stream:
            errors.append(line)
            del errors[:-_LAST_LINES]

    threads = [
        threading.Thread(target=listen, args=(child.stdout,), daemon=True),
        threading.Thread(target=collect, args=(child.stderr,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        _send(child.stdin, request)
        _wait(child, stop)
    except BaseException:
        child.kill()
        raise
    finally:
        child.wait()
        for thread in threads:
            thread.join()
        for stream in (child.stdin, child.stdout, child.stderr):
            _close(stream)
    if answer:
        result = answer[0]
        if isinstance(result, BaseException):
            raise result
        return result
    killed = child.returncode == -signal.SIGKILL
    text = b"".join(errors).decode(errors="replace").strip().splitlines()
    why = "killed by the operating system: out of memory" if killed else (text or ["no output"])[-1]
    ended = Outcome.OOM if killed else Outcome.FAILED
    phase = last_phase[0] if last_phase else "setup"
    row = replace(row, wall_s=time.perf_counter() - begun, outcome=ended, phase=phase, error=why)
    return Record(run=row)


def _wait(child: "subprocess.Popen[bytes]", stop: Callable[[], bool | Outcome]) -> None:
    """Until the child is done; a `stop` is passed on once."""
    assert child.stdin is not None
    asked_at: float | None = None
    while child.poll() is None:
        if asked_at is None:
            answer = stop()
            if answer:
                asked_at = time.monotonic()
                _send(child.stdin, answer)
        elif time.monotonic() - asked_at > _GRACE_S:
            child.kill()
        try:
            child.wait(0.1)
        except subprocess.TimeoutExpired:
            continue


def _send(stream: BinaryIO, message: Any) -> None:
    try:
        pickle.dump(message, stream)
        stream.flush()
    except BrokenPipeError:
        return  # the child is gone; its exit status says why


def _close(stream: BinaryIO) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return  # what could not be sent to a dead child


def _messages(stream: BinaryIO):
    while True:
        try:
            yield pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):
            return  # the child has closed its end, or died within a message


def _child() -> None:
    """Answer one request. Standard output carries messages only, so prints go to standard error."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            _send(answers, (kind, value))

    request = pickle.load(requests)
    asked: list[bool | Outcome] = []

    def hear() -> None:
        # A parent that is gone asks for nothing any more: its end of the pipe closes.
        for answer in _single_messages(requests):
            asked.append(answer)

    threading.Thread(target=hear, daemon=True).start()
    try:
        record = run(
            **request,
            report=lambda progress: send("progress", progress),
            stop=lambda: asked[0] if asked else False,
        )
    except Exception as error:
        send("error", error)
    else:
        send("record", record)
    answers.close()


def _single_messages(stream: BinaryIO):
    try:
        yield pickle.load(stream)
    except EOFError:
        yield True


if __name__ == "__main__":
    _child()
