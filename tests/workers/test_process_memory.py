"""The memory that counts against a budget: resident, neither shared nor of a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.workers.process_memory import anonymous_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MIB = 2**20
HOLD = """
import mmap, sys
own = bytearray(b"x") * (64 * 2**20)
shared = mmap.mmap(-1, 96 * 2**20)
shared.write(b"x" * len(shared))
print("ready", flush=True)
sys.stdin.read()
"""
LIMIT = """
import mmap, resource
from scalelab.workers.process_memory import data_bytes
resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + 64 * 2**20, resource.RLIM_INFINITY))
private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
first = mmap.mmap(-1, 48 * 2**20, flags=private)
try:
    second = mmap.mmap(-1, 48 * 2**20, flags=private)
except OSError:
    print("refused")
"""


def test_shared_memory_does_not_count_and_a_dead_process_has_none():
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        found = anonymous_bytes(process.pid)
        fields = Path(f"/proc/{process.pid}/statm").read_text().split()
        process.stdin.close()
    assert found == (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    assert 64 * MIB <= found < 96 * MIB
    assert anonymous_bytes(process.pid) == 0


def test_the_limit_on_data_begins_at_what_the_kernel_counts_already():
    done = subprocess.run(
        [sys.executable, "-c", LIMIT], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "refused\n"
