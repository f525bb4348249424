"""A killed run is out of memory only where the kernel says that it killed for memory."""

import multiprocessing
import os
import signal

import pytest

from scalelab.core.limits import Limits
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.workers import child, oom_kills
from scalelab.workers.fork_server import ExitStatus
from scalelab.workers.task import Task

V1 = "35 32 0:32 {} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
V2 = "31 23 0:26 {} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
MACHINE = "pgfault 7\noom_kill 40\n"
EVENTS = "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "files", "expected"),
    [
        ("0::/a/b\n", V2.format("/"), {"sys/fs/cgroup/a/b/memory.events": EVENTS}, 2),
        # The group has no memory controller, the one above it has.
        ("0::/a/b\n", V2.format("/"), {"sys/fs/cgroup/a/memory.events": EVENTS}, 2),
        # In a container: the mount begins at its own group, or its path is the host's.
        ("0::/\n", V2.format("/"), {"sys/fs/cgroup/memory.events": EVENTS}, 2),
        ("0::/d/x\n", V2.format("/d/x"), {"sys/fs/cgroup/memory.events": EVENTS}, 2),
        ("0::/d/y\n", V2.format("/d/x"), {"sys/fs/cgroup/memory.events": EVENTS}, 2),
        # The root has no count of its own.
        ("0::/\n", V2.format("/"), {}, 40),
        (
            "4:memory:/job\n1:cpu:/\n0::/\n",
            CPU + V1.format("/") + UNIFIED,
            {"sys/fs/cgroup/memory/job/memory.oom_control": CONTROL},
            3,
        ),
        (
            "4:cpu,memory:/d/x\n0::/\n",
            V1.format("/d/x"),
            {"sys/fs/cgroup/memory/memory.oom_control": CONTROL},
            3,
        ),
        ("", "", {}, 40),
    ],
)
def test_kills_are_read_where_the_kernel_counts_them(tmp_path, cgroup, mounts, files, expected):
    files = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts, "proc/vmstat": MACHINE} | (
        files
    )
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert oom_kills.oom_kills(tmp_path) == expected


def test_nobody_counts_where_there_is_no_proc(tmp_path):
    assert oom_kills.oom_kills(tmp_path) is None


@pytest.fixture
def counted(monkeypatch):
    """The kernel's count, which the test raises."""
    count = [5]
    monkeypatch.setattr(oom_kills, "oom_kills", lambda: count[0])
    return count


def born(kills):
    task = Task(
        run_id="r",
        study_id=None,
        fingerprint="f",
        data_fingerprint=None,
        attempt=1,
        spec=RunSpec.load("sasrec-synthetic"),
        limits=Limits(),
    )
    ours, theirs = multiprocessing.Pipe()
    started = child.Child(task, os.getpid(), ours, on_progress=lambda progress: None, kills=kills)
    theirs.close()
    return started


def outcome(started):
    left = ExitStatus(pid=os.getpid(), wait_status=int(signal.SIGKILL), peak_bytes=1)
    return started.finish(left).run.outcome


def test_a_kill_that_the_kernel_counts_is_out_of_memory(counted):
    started = born(None)
    counted[0] += 1
    assert outcome(started) is Outcome.OOM


def test_a_kill_that_nobody_counts_is_no_result(counted):
    assert outcome(born(None)) is Outcome.INTERRUPTED
    counted[0] = None
    assert outcome(born(None)) is Outcome.INTERRUPTED


def test_one_kill_of_the_kernel_explains_one_death(counted):
    kills = oom_kills.OomKills()
    first, second, third = born(kills), born(kills), born(kills)
    counted[0] += 1
    assert outcome(first) is Outcome.OOM
    assert outcome(second) is Outcome.INTERRUPTED
    counted[0] += 1
    assert outcome(third) is Outcome.OOM
