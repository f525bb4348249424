"""Show a running sweep on standard error: a live view in a terminal, plain lines elsewhere."""

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from scalelab import api
from scalelab.cli.earlier import Earlier
from scalelab.cli.keyboard import keys_pressed
from scalelab.cli.live import LiveState
from scalelab.cli.output import console, note, one_line
from scalelab.cli.screen import draw, summary
from scalelab.core.errors import ScalelabError
from scalelab.core.events import GpuMeter, Planned, Progress
from scalelab.core.figures import metric_name
from scalelab.core.records import Outcome, Record
from scalelab.core.units import format_bytes, format_seconds

__all__ = ["PlainLines", "watching"]

_FRAMES_PER_S = 4
# On wider terminals a name and its figures would be too far apart to read as one row.
_WIDEST = 220
_SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def watching(
    budget_bytes: int | None = None,
    workers: int = 1,
    *,
    quiet: bool,
    answer: Callable[[], str] | None = None,
    earlier: Callable[[Sequence[Planned]], Earlier] | None = None,
) -> Iterator[LiveState]:
    """Give an observer for a sweep and show its state while the body runs.

    `answer` gives the answer so far, which the key p shows; `earlier` what earlier sweeps have
    found for runs, which the Pareto front holds too.

    The live view needs a terminal on both streams: where the results go into a pipe, it would mix
    with what the program behind the pipe prints.
    """
    if quiet:
        yield LiveState(budget_bytes, workers)
    elif sys.stderr.isatty() and sys.stdout.isatty() and not console(stderr=True).is_dumb_terminal:
        yield from _live(_Picture(budget_bytes, workers, earlier), answer)
    else:
        yield PlainLines(budget_bytes, workers)


def _live(state: "_Picture", answer: Callable[[], str] | None) -> Iterator[LiveState]:
    from rich.console import RenderableType
    from rich.constrain import Constrain
    from rich.live import Live

    screen = console(stderr=True)
    shown_size = screen.size
    keys = ""
    gpus = _Gpus()

    def picture() -> RenderableType:
        nonlocal shown_size
        if screen.size != shown_size:
            # The terminal has wrapped lines that were drawn for another width. They cannot be
            # erased by counting lines and would stay on the screen.
            shown_size = screen.size
            screen.clear()
        now = state.snapshot()
        # Two lines less than the terminal has: a full one scrolls when the view is removed.
        width, height = min(screen.width, _WIDEST), screen.height - 2
        drawn = draw(
            now,
            width,
            height,
            ascii_only=screen.options.ascii_only,
            gpus=gpus.read(now.device),
            answer=state.answer,
            keys=keys,
        )
        return Constrain(drawn, width)

    def show_answer() -> None:
        state.show_answer(answer)

    actions = {"q": _stop} | ({"p": show_answer} if answer is not None else {})
    try:
        with (
            keys_pressed(actions) as can_read,
            Live(
                get_renderable=picture,
                console=screen,
                refresh_per_second=_FRAMES_PER_S,
                transient=True,
                vertical_overflow="crop",
            ),
        ):
            if can_read:
                keys = "q stop" + (", p answer so far" if answer is not None else "")
            yield state
    finally:
        for text in state.messages:
            note(text)


def _stop() -> None:
    """As Ctrl-C does: once, runs finish their epoch; twice, they end."""
    os.kill(os.getpid(), signal.SIGINT)


class _Gpus:
    """The meters of this machine's GPUs, read once a second at most and for runs on a GPU only."""

    def __init__(self) -> None:
        self._read_at = -math.inf
        self._found: tuple[GpuMeter, ...] = ()

    def read(self, device: str) -> tuple[GpuMeter, ...]:
        now = time.monotonic()
        if device.startswith("cuda") and now - self._read_at >= 1:
            self._read_at = now
            self._found = api.gpu_meters()
        return self._found


class _Picture(LiveState):
    """Keeps all messages, which are printed when the live view is removed."""

    def __init__(
        self,
        budget_bytes: int | None,
        workers: int,
        earlier: Callable[[Sequence[Planned]], Earlier] | None,
    ) -> None:
        super().__init__(budget_bytes, workers, earlier=earlier)
        self.messages: list[str] = []
        self.answer = ""

    def show_answer(self, answer: Callable[[], str] | None) -> None:
        """Work out the answer so far; called again while it is shown, hide it."""
        if self.answer or answer is None:
            self.answer = ""
            return
        self.answer = "working out the answer so far ..."
        try:
            self.answer = answer()
        except ScalelabError as error:
            self.answer = f"no answer yet: {error.message}"

    def on_message(self, text: str) -> None:
        super().on_message(text)
        self.messages.append(one_line(text))


class PlainLines(LiveState):
    """Prints one line per event without control codes, for files, pipes and batch systems."""

    def __init__(
        self,
        budget_bytes: int | None = None,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = note,
    ) -> None:
        super().__init__(budget_bytes, workers, clock)
        self._write = write
        self._now = clock
        self._printed: dict[str, float] = {}

    def on_plan(self, name: str, device: str, cells: Sequence[Planned]) -> None:
        # A search plans one run at a time and [final] plans again; only the first plan is printed.
        first = not self.snapshot().total
        super().on_plan(name, device, cells)
        if first:
            before = sum(cell.finished_before for cell in cells)
            number = "1 run" if len(cells) == 1 else f"{len(cells)} runs"
            line = f"{name} on {device}: {number}" if device else f"{name}: {number}"
            self._write(line + (f", {before} done before" if before else ""))

    def on_activity(self, text: str) -> None:
        super().on_activity(text)
        self._write(text)

    def on_run_start(self, run_id: str) -> None:
        super().on_run_start(run_id)
        self._printed[run_id] = self._now()
        self._write(f"{self._place()} start {self.label(run_id)}")

    def on_progress(self, progress: Progress) -> None:
        super().on_progress(progress)
        now = self._now()
        if now - self._printed.get(progress.run_id, now) < _SECONDS_BETWEEN_LINES:
            return
        self._printed[progress.run_id] = now
        parts = [f"epoch {progress.epoch}/{progress.epochs}", progress.phase]
        if progress.metric is not None:
            parts.append(f"{metric_name(progress.metric_key)} {progress.metric:.4f}")
        if progress.used_bytes is not None:
            parts.append(format_bytes(progress.used_bytes))
        if progress.tokens_per_s is not None:
            parts.append(f"{progress.tokens_per_s:,.0f} tokens/s")
        self._write(f"{self._place()} running {self.label(progress.run_id)}: {', '.join(parts)}")

    def on_run_end(self, record: Record) -> None:
        super().on_run_end(record)
        self._printed.pop(record.run.run_id, None)
        finished = self.snapshot().finished[-1]
        parts: list[str] = []
        if finished.valid is not None:
            parts.append(f"valid {metric_name(finished.metric)} {finished.valid:.4f}")
        if finished.test is not None:
            parts.append(f"test {finished.test:.4f}")
        if finished.peak_bytes is not None:
            parts.append(f"peak {format_bytes(finished.peak_bytes)}")
        if finished.train_s is not None:
            parts.append(f"train {format_seconds(finished.train_s)}")
        if finished.outcome not in (Outcome.DONE, Outcome.SKIPPED) and record.run.phase:
            parts.append(f"in {record.run.phase}")
        if finished.note:
            parts.append(finished.note)
        if finished.error:
            parts.append(one_line(finished.error))
        line = f"{self._place()} {finished.outcome.value} {finished.label}"
        self._write(line + (f": {', '.join(parts)}" if parts else ""))

    def on_message(self, text: str) -> None:
        super().on_message(text)
        self._write(one_line(text))

    def on_end(self) -> None:
        super().on_end()
        now = self.snapshot()
        counts = summary(now.counts) or "no runs"
        self._write(f"{now.name}: {counts}, {format_seconds(now.elapsed_s)}")

    def _place(self) -> str:
        now = self.snapshot()
        return f"[{now.over}/{now.total}]"
