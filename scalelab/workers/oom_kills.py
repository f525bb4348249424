"""Count the processes that the kernel has killed because memory ran out (Linux)."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["OomKills", "oom_kills"]


class OomKills:
    """OOM kills of the kernel, each of which explains the end of one child."""

    def __init__(self) -> None:
        self._explained = 0

    def unexplained(self) -> int:
        """Kills so far that have explained no child's end; read it when a child starts."""
        return (oom_kills() or 0) - self._explained

    def explains(self, before: int) -> bool:
        """Whether there is a new kill since a child read `before`; each kill is used once."""
        if self.unexplained() <= before:
            return False
        self._explained += 1
        return True


def oom_kills(root: Path = Path("/")) -> int | None:
    """Kills so far in this process's cgroup, of the whole machine where that has no count.

    None where there is no count. The kernel counts before it kills: when a process is seen to be
    dead, its kill has been counted.
    """
    for path in [*_counters(root), root / "proc/vmstat"]:
        for line in _lines(path):
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return None


def _counters(root: Path) -> Iterator[Path]:
    """Files of our cgroup, then of those above it: a group without the memory controller has none,
    and in a container the path may be the host's.
    """
    mounts = [line.split() for line in _lines(root / "proc/self/mountinfo")]
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        kind, name = ("cgroup", "memory.oom_control") if controllers else ("cgroup2", _EVENTS)
        for fields in mounts:
            mounted, place = PurePosixPath(fields[3]), root / fields[4].lstrip("/")
            found, options = fields[fields.index("-") + 1], fields[-1].split(",")
            if found != kind or (controllers and "memory" not in options):
                continue
            path = PurePosixPath(group)
            inner = path.relative_to(mounted) if path.is_relative_to(mounted) else PurePosixPath()
            for folder in [inner, *inner.parents]:
                yield place / folder / name


_EVENTS = "memory.events"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []  # this system, or this cgroup, has no such file
