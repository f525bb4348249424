import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from scalelab.cli.watch import PlainLines, watching

from .simulated import planned, progress, record, simulate
from .terminal import Screen, run_in_terminal

SIMULATED = str(Path(__file__).with_name("simulated.py"))
MESSAGES = [f"message {n}: a worker was replaced" for n in (7, 14, 21, 28, 35)]


@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), pytest.param(200, 50, marks=pytest.mark.slow)]
)
def test_the_picture_leaves_nothing_behind_and_loses_nothing(width: int, height: int) -> None:
    written, code = run_in_terminal([SIMULATED, "40", "6", "1"], width=width, height=height)
    screen = Screen(width, height)
    screen.feed(written)
    assert code == 0
    assert screen.shown() == [*MESSAGES, "the end"]
    assert screen.cursor_shown
    # And something was to be seen meanwhile.
    for word in ("running", "best under", "finished", "left (ends", "on cpu, "):
        assert word in written


@pytest.mark.slow
def test_a_terminal_that_changes_its_size_shows_no_line_twice() -> None:
    left = [(60, 24), (100, 30), (80, 20)]

    def resize(fd: int, text: str) -> None:
        if text.count("elapsed") > 2 * (3 - len(left)) and left:
            width, height = left.pop(0)
            fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    written, code = run_in_terminal([SIMULATED, "40", "6", "2"], width=80, height=24, during=resize)
    assert code == 0
    assert not left
    screen = Screen(80, 20)
    screen.feed(written[written.rindex("\x1b[2J") :])
    assert screen.shown() == [*MESSAGES, "the end"]


def test_without_a_terminal_there_are_plain_lines_and_no_control_codes() -> None:
    done = subprocess.run(
        [sys.executable, SIMULATED, "12", "2", "0"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "the end\n"
    assert re.fullmatch(r"[\n\x20-\x7e]*", done.stderr)
    lines = done.stderr.splitlines()
    assert lines[0] == "simulated on cpu: 12 runs, 1 done before"
    skipped = [line for line in lines if "] skipped " in line]
    assert len(skipped) == 1
    assert skipped[0].endswith("skipped on purpose")
    assert lines[-1].startswith("simulated: ")
    assert len(lines) == len(set(lines))
    assert sum(" start " in line for line in lines) == 10
    ends = [line for line in lines if re.search(r"\] (done|oom|failed) ", line)]
    assert len(ends) == 10
    assert ends[-1].startswith("[12/12]")


@pytest.mark.slow
@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(term: str) -> None:
    written, code = run_in_terminal(
        [SIMULATED, "8", "2", "0"], width=80, height=24, env={"TERM": term}
    )
    assert code == 0
    assert "\x1b" not in written
    assert "[8/8]" in written


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(quiet=True) as observer:
        simulate(observer, cells=8)
    assert capsys.readouterr() == ("", "")


def test_progress_is_printed_in_plain_lines_twice_a_minute_at_most() -> None:
    now, said = [0.0], []
    lines = PlainLines(clock=lambda: now[0], write=said.append)
    lines.on_plan("s", "cpu", [planned(0)])
    lines.on_run_start("run-0")
    for second in range(121):
        now[0] = float(second)
        lines.on_progress(progress("run-0", 1 + second // 20))
    lines.on_run_end(record(planned(0)))
    printed = [line for line in said if "running" in line]
    assert len(printed) == 4
    assert printed[0] == (
        "[0/1] running loss=cross_entropy batch.size=32 seed=0: epoch 2/10, backward, "
        "NDCG@10 0.0080, 15 MiB, 12,345 tokens/s"
    )


def test_a_failure_is_one_line_with_its_phase_and_reason() -> None:
    from scalelab.core.records import Outcome

    said: list[str] = []
    lines = PlainLines(write=said.append)
    lines.on_plan("s", "cpu", [planned(0)])
    lines.on_run_start("run-0")
    lines.on_run_end(record(planned(0), Outcome.FAILED))
    assert said[-1].endswith("in backward, failed on purpose")


def test_messages_are_kept_when_the_sweep_dies_in_the_picture() -> None:
    code = (
        "from scalelab.cli.watch import watching\n"
        "with watching(quiet=False) as observer:\n"
        "    observer.on_message('something a person should read')\n"
        "    raise KeyboardInterrupt\n"
    )
    written, _ = run_in_terminal(["-c", code], width=80, height=24)
    screen = Screen(80, 24)
    screen.feed(written)
    assert screen.shown().count("something a person should read") == 1
    assert screen.cursor_shown


KEYS = """
import os, signal, sys, termios, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
os.open(os.ttyname(0), os.O_RDWR)  # the terminal of this session, as a shell would have set it
from scalelab.cli.watch import watching
before = termios.tcgetattr(sys.stdin.fileno())
try:
    with watching(quiet=False, answer=lambda: "take bce") as observer:
        observer.on_plan("keys", "cpu", [])
        for _ in range(300):
            time.sleep(0.1)
except KeyboardInterrupt:
    print("stopped as by ctrl-C")
after = termios.tcgetattr(sys.stdin.fileno())
print("terminal restored" if before == after else "terminal changed")
"""


def test_the_key_p_shows_the_answer_so_far_and_q_stops_as_ctrl_c_does() -> None:
    pressed = []

    def press(fd: int, text: str) -> None:
        for key, seen in (("p", "p answer so far"), ("q", "take bce")):
            if key not in pressed and seen in text:
                pressed.append(key)
                os.write(fd, key.encode())

    written, code = run_in_terminal(["-c", KEYS], width=80, height=24, during=press)
    screen = Screen(80, 24)
    screen.feed(written)
    assert code == 0
    assert pressed == ["p", "q"]
    assert screen.shown() == ["stopped as by ctrl-C", "terminal restored"]


@pytest.mark.slow
def test_the_terminal_is_restored_where_the_sweep_dies() -> None:
    code = KEYS.replace('observer.on_plan("keys", "cpu", [])', "raise KeyboardInterrupt")
    written, _ = run_in_terminal(["-c", code], width=80, height=24)
    assert "terminal restored" in written


def test_without_a_terminal_no_key_is_read() -> None:
    code = (
        "from scalelab.cli.keyboard import keys_pressed\n"
        "with keys_pressed({'q': print}) as can_read: print(can_read)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="q", capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
