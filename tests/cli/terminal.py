"""A pseudo-terminal for a command, and a small emulation of what a person would then see."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence

__all__ = ["Screen", "run_in_terminal"]

_TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+|\x1b.")


class Screen:
    """Lines as a terminal shows them, those that scrolled away included; colours are ignored."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.lines = [""]
        self.row = self.column = 0
        self.cursor_shown = True

    def feed(self, text: str) -> None:
        """Characters as the program wrote them. Fails on a sequence that it does not know."""
        for match in _TOKEN.finditer(text):
            token = match[0]
            if token == "\r":
                self.column = 0
            elif token == "\n":
                self._down()
            elif match[2]:
                self._control(match[1], match[2])
            else:
                for character in token:
                    self._put(character)

    def shown(self) -> list[str]:
        """All lines without trailing space and empty lines."""
        return [line.rstrip() for line in self.lines if line.strip()]

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def _put(self, character: str) -> None:
        if self.column == self.width:
            self.column = 0
            self._down()
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1

    def _control(self, numbers: str, letter: str) -> None:
        top = max(0, len(self.lines) - self.height)
        if letter == "A":
            # No terminal moves the cursor into what has scrolled away.
            self.row = max(top, self.row - int(numbers or 1))
        elif letter == "K":
            assert numbers == "2", f"erase {numbers!r}"
            self.lines[self.row] = ""
        elif letter in "hl" and numbers == "?25":
            self.cursor_shown = letter == "h"
        elif letter == "H":
            self.row, self.column = top, 0
        elif letter == "J":
            del self.lines[top:]
            self.lines.append("")
        else:
            assert letter == "m", f"unknown control sequence {numbers}{letter}"


def run_in_terminal(
    command: Sequence[str],
    *,
    width: int,
    height: int,
    during: Callable[[int, str], None] = lambda fd, text: None,
    timeout_s: float = 60.0,
    env: dict[str, str] | None = None,
) -> tuple[str, int]:
    """What the command wrote to a terminal of that size, and its exit code.

    `during(fd, text)` is called after every read, with all that was written so far.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    variables = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=variables | {"TERM": "xterm-256color"} | (env or {}),
        start_new_session=True,
    )
    os.close(slave)
    written = b""
    end = time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([master], [], [], 0.2)
            if ready:
                try:
                    read = os.read(master, 65536)
                except OSError:  # the other end is closed: the command is over
                    break
                if not read:
                    break
                written += read
                during(master, written.decode(errors="replace"))
        return written.decode(), child.wait(timeout=10)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(master)
