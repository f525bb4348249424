"""Remove what processes that were killed have left unfinished beside a file or a folder."""

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["named", "remove_leftovers", "temporary_folder"]

# A folder that was just made is not locked yet; what is so young is left to the next time.
_YOUNG_S = 60.0


@contextmanager
def temporary_folder(prefix: str, inside: Path | None = None) -> Generator[Path]:
    """A new folder that is removed at the end, and first what killed processes left of its kind.

    `inside` None is the system's folder for temporary files. Nothing else may have names that begin
    with `prefix`. Raises OSError.
    """
    parent = Path(tempfile.gettempdir()) if inside is None else inside
    remove_leftovers(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_leftovers(parent: Path, prefix: str, unchanged_s: float = _YOUNG_S) -> None:
    """Removes files and folders in `parent` whose names begin with `prefix`, which no process has
    locked and which have not changed for so long. What cannot be removed stays.
    """
    for found in named(parent, prefix):
        if found.is_symlink():
            continue
        try:
            is_old = time.time() - found.stat().st_mtime > unchanged_s
            lock = _locked(found) if is_old else None
        except OSError:
            continue  # another process has removed it, or it is somebody else's
        if lock is None:
            continue
        if found.is_dir():
            shutil.rmtree(found, ignore_errors=True)
        else:
            with suppress(OSError):  # somebody else's, in a folder for all
                found.unlink()
        os.close(lock)


def named(parent: Path, prefix: str) -> list[Path]:
    """What lies in `parent` under a name that was made from `prefix`, in order.

    What follows the prefix has no hyphen there, so `.a-new-x-new-1` is not one of `.a-new-`.
    """
    found = (path for path in parent.glob("*") if path.name.startswith(prefix))
    return sorted(path for path in found if "-" not in path.name.removeprefix(prefix))


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of a path; None where another process or none can have it.

    The system gives it up when the process ends, however that is.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return None  # no such locks on this system: nothing is removed there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
