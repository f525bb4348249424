"""Fork processes from one that has imported torch, and report the exit status of each.

Not multiprocessing's fork server: that one imports the user's main script again, does not end with
its driver, and does not report how much memory a dead child had taken. Here the server has imported
torch, has no thread and no CUDA context, and has run no numba kernel.
"""

import contextlib
import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from scalelab.core.cores import available_cores
from scalelab.core.errors import ScalelabError
from scalelab.workers import worker

__all__ = ["ExitStatus", "ForkServer", "ForkServerDied", "serve", "threads_each"]

_HEAD = struct.Struct("!I")


class ForkServerDied(ScalelabError):
    """The process that others are forked from has died."""


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
        # In the server torch asks NVML whether there is a GPU: asking CUDA would start CUDA there,
        # and no process forked afterwards could use it.
        environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        code = "import sys; from scalelab.workers.fork_server import serve; serve(*sys.argv[1:])"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, str(theirs.fileno()), str(os.getpid()), run, *modules],
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
                raise self._died() from error

    def exits(self) -> list[ExitStatus]:
        """The exit status of children that ended since the last call. Raises ForkServerDied."""
        try:
            while _readable(self._socket):
                message = self._receive()
                assert isinstance(message, ExitStatus), "the server sends nothing else by itself"
                self._exits.append(message)
        except OSError as error:
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
        size = _HEAD.unpack(_exactly(self._socket, _HEAD.size))[0]
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


def serve(descriptor: str, driver: str, run: str, *modules: str) -> None:
    """Import, then fork on request until the driver closes its end of the socket."""
    worker.die_with_parent(int(driver))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = socket.socket(fileno=int(descriptor))
    for module in modules:
        importlib.import_module(module)
    worker.find_run(run)
    # Objects that exist now are never collected in a child: their pages stay shared.
    gc.collect()
    gc.freeze()
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector, contextlib.suppress(BrokenPipeError):
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                _reap(control)
            if control in ready:
                request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
                if not request:
                    os._exit(0)
                _fork(control, descriptors[0], run, [woken, waker, selector])


def _fork(control: socket.socket, descriptor: int, run: str, ours: list) -> None:
    server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        _send(control, pid)
        return
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for thing in [control, *ours]:
            thing.close()
        worker.die_with_parent(server)
        os.setsid()
        worker.work(Connection(descriptor), run)
        code = 0
    except BaseException:  # whatever a forked process raises goes to the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # No exit handlers: they are the server's, and threads of the run may never end.
        os._exit(code)


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        scale = 1 if sys.platform == "darwin" else 1024
        _send(control, ExitStatus(pid=pid, wait_status=status, peak_bytes=usage.ru_maxrss * scale))


def _send(control: socket.socket, message: object) -> None:
    data = pickle.dumps(message)
    control.sendall(_HEAD.pack(len(data)) + data)
