"""Lock a ledger for one sweep, from its start to its end.

Not the package filelock. Up to 3.19 it empties the lock file whenever another process tries to take
it, so that a refused sweep could not name the process that holds the ledger. Version 4 replaces a
missing flock by a marker file, which a killed sweep would leave behind. fcntl is imported where it
is used: a ledger can be read on systems that do not have it.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from scalelab.core.errors import LedgerError

__all__ = ["driver_lock", "is_locked", "lock_path"]


# A reader that checks whether a sweep runs holds the lock for a moment.
_TRIES = 5
_PAUSE_S = 0.02


def lock_path(ledger: Path) -> Path:
    """The lock file of a ledger, beside it."""
    return ledger.with_name(ledger.name + ".lock")


@contextmanager
def driver_lock(ledger: Path) -> Generator[None, None, None]:
    """Hold `ledger`'s lock file, which the system releases even when the driver is killed.

    Raises LedgerError when another driver holds it, or when the folder cannot be written.
    """
    path = lock_path(ledger)
    descriptor = _acquire(path, ledger)
    try:
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:  # a full disk
            hint = "free some space, or sweep elsewhere: --ledger FILE"
            raise LedgerError(f"cannot lock {ledger}: {error.strerror}", hint) from error
        yield
    finally:
        # Removed while held: a process that has just opened the file sees that, and tries again.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_locked(ledger: Path) -> bool:
    """Whether a sweep writes `ledger` now. Raises LedgerError."""
    try:
        import fcntl

        descriptor = os.open(lock_path(ledger), os.O_RDONLY)
    except (ModuleNotFoundError, FileNotFoundError):
        return False  # no sweep can run here, or none does
    except OSError as error:
        raise LedgerError(f"cannot read {lock_path(ledger)}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:  # a file system without locks
        raise LedgerError(f"cannot lock {ledger}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return False


def _acquire(path: Path, ledger: Path) -> int:
    try:
        import fcntl
    except ModuleNotFoundError as error:
        message = f"cannot lock {ledger}: this system has no flock"
        raise LedgerError(message, "sweep on Linux; ledgers can be read here") from error
    tries = 0
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            hint = "sweep into a folder that you may write: --ledger FILE"
            raise LedgerError(f"cannot lock {ledger}: {error.strerror}", hint) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            tries += 1
            if tries < _TRIES:
                os.close(descriptor)
                time.sleep(_PAUSE_S)
                continue
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            message = f"another sweep writes {ledger}" + (f" (process {holder})" if holder else "")
            hint = "wait for it, stop it, or give another --ledger"
            raise LedgerError(message, hint) from error
        except OSError as error:
            os.close(descriptor)
            hint = "put the ledger on a local disk: --ledger FILE"
            raise LedgerError(f"cannot lock {ledger}: {error.strerror}", hint) from error
        if _is_in_place(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_in_place(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
