"""Run as the fork server: import, fork a process per request, and report how each one ended.

It also ends what the runs have started: processes that outlive their run become children of the
server (Linux) and are killed.
"""

import contextlib
import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import sys
import traceback
from multiprocessing.connection import Connection

import psutil

from scalelab.workers import worker
from scalelab.workers.fork_server import HEAD, ExitStatus

__all__ = ["serve"]

_NUMBA = "scalelab.batches.numba_imports"


def serve(descriptor: str, driver: str, run: str, *modules: str) -> None:
    """Import `modules`, then fork on request until the driver closes its end of the socket."""
    # Not SIGTERM: a service manager sends it to all processes, and runs shall finish their epoch.
    signal.signal(signal.SIGUSR1, _end_all)
    worker.die_with_parent(int(driver), signal.SIGUSR1)
    worker.adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = socket.socket(fileno=int(descriptor))
    for module in modules:
        importlib.import_module(module)
    if "numba" in sys.modules:
        importlib.import_module(_NUMBA).import_numba_parts()
    worker.find_run(run)
    # Objects that exist now are never collected in a child: their pages stay shared.
    gc.collect()
    gc.freeze()
    # What an import has started is not of a run.
    keep = {process.pid for process in psutil.Process().children()}
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    runs: set[int] = set()
    with selectors.DefaultSelector() as selector, contextlib.suppress(BrokenPipeError):
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                _reap(control, runs)
                _kill_orphans(runs | keep)
            if control in ready:
                request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
                if not request:
                    break
                runs.add(_fork(control, descriptors[0], run, [woken, waker, selector]))
    _end_all()


def _fork(control: socket.socket, descriptor: int, run: str, sockets: list) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        _send(control, pid)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        for each in [control, *sockets]:
            each.close()
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


def _reap(control: socket.socket, runs: set[int]) -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid not in runs:
            continue  # an orphan of a run
        runs.remove(pid)
        # Processes of the run are in its session, and so in its group, unless they left it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        scale = 1 if sys.platform == "darwin" else 1024
        _send(control, ExitStatus(pid=pid, wait_status=status, peak_bytes=usage.ru_maxrss * scale))


def _kill_orphans(keep: set[int]) -> None:
    """Kill children of the server that are neither runs nor its own: their run has ended."""
    for process in psutil.Process().children():
        if process.pid not in keep:
            _kill(process)


def _end_all(*_: object) -> None:
    """End every process that comes from the server, and the server."""
    for process in psutil.Process().children(recursive=True):
        _kill(process)
    os._exit(0)


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _send(control: socket.socket, message: object) -> None:
    data = pickle.dumps(message)
    control.sendall(HEAD.pack(len(data)) + data)
