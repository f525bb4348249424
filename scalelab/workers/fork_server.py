"""Fork processes from one that has imported torch, and report the exit status of each.

Not multiprocessing's fork server: that one imports the user's main script again, does not end with
its driver, and does not report how much memory a dead child had taken. Here the server has imported
torch, has no thread and no CUDA context, and has run no numba kernel.
"""

import os
import pickle
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from scalelab.core.cores import available_cores
from scalelab.workers.task import ExecutorDied

__all__ = ["HEAD", "ExitStatus", "ForkServer", "ForkServerDied", "threads_each"]

# Each message of the server begins with the number of bytes that follow.
HEAD = struct.Struct("!I")
# Last: scalelab itself may have been found in a folder that is no longer on the path.
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
_SERVE = "import sys; from scalelab.workers.fork_server_main import serve; serve(*sys.argv[1:])"


class ForkServerDied(ExecutorDied):
    """The process that others are forked from has ended."""


@dataclass(frozen=True, kw_only=True)
class ExitStatus:
    """How a forked process ended: its wait status, and its largest resident memory."""

    pid: int
    wait_status: int
    peak_bytes: int

    @property
    def signal(self) -> int | None:
        """The signal that killed it, None where it exited."""
        return os.WTERMSIG(self.wait_status) if os.WIFSIGNALED(self.wait_status) else None

    @property
    def code(self) -> int | None:
        """Its exit code, None where a signal killed it."""
        return os.WEXITSTATUS(self.wait_status) if os.WIFEXITED(self.wait_status) else None


def threads_each(workers: int) -> int:
    """How many threads each of `workers` runs computes with; OMP_NUM_THREADS takes precedence."""
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if setting.isdigit():
        return int(setting)
    return max(1, available_cores() // workers)


class ForkServer:
    """A process that has imported torch. `fork` returns the id and the pipe of a new child."""

    def __init__(self, run: str, modules: Sequence[str], threads: int) -> None:
        self._log = tempfile.TemporaryFile()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        # In the server torch reads from NVML whether there is a GPU: a query to CUDA would start
        # it, and no process forked afterwards could use it.
        environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
        environment["PYTHONPATH"] = os.pathsep.join([*filter(None, sys.path), _PACKAGE_ROOT])
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    # The working folder must not be imported from: a file called profile.py or
                    # numpy.py in it would take the place of the real module.
                    "-P",
                    "-c",
                    _SERVE,
                    str(theirs.fileno()),
                    str(os.getpid()),
                    run,
                    *modules,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=environment,
                start_new_session=True,
            )
        self._exits: list[ExitStatus] = []

    @property
    def pid(self) -> int:
        """The server's own process id."""
        return self._process.pid

    @property
    def control_socket(self) -> socket.socket:
        """The socket to the server; readable when a child has ended."""
        return self._socket

    def fork(self) -> tuple[int, Connection]:
        """A fresh process that waits for a task on the connection. Raises ForkServerDied."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                socket.send_fds(self._socket, [b"f"], [theirs.fileno()])
                message = self._receive()
                while isinstance(message, ExitStatus):
                    self._exits.append(message)
                    message = self._receive()
                return message, Connection(ours.detach())
            except OSError as error:
                ours.close()
                raise self._died() from error

    def exits(self) -> list[ExitStatus]:
        """The exit status of children that ended since the last call. Raises ForkServerDied."""
        try:
            while _readable(self._socket):
                message = self._receive()
                assert isinstance(message, ExitStatus), "the server sends nothing else by itself"
                self._exits.append(message)
        except OSError as error:
            if not self._exits:  # what had ended before the server is not lost
                raise self._died() from error
        found, self._exits = self._exits, []
        return found

    def close(self) -> None:
        """End the server, and with it every child that still runs."""
        self._socket.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _receive(self) -> "ExitStatus | int":
        size = HEAD.unpack(_exactly(self._socket, HEAD.size))[0]
        return pickle.loads(_exactly(self._socket, size))

    def _died(self) -> ForkServerDied:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "without a message"
        return ForkServerDied(f"the process that runs are forked from has ended: {last}")


def _exactly(stream: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = stream.recv(size - len(parts))
        if not part:
            raise ConnectionResetError("the other end is closed")
        parts += part
    return bytes(parts)


def _readable(stream: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(0))
