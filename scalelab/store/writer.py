"""Write records to a ledger in one thread, in batches; each record gets a receipt.

While another program holds the ledger, records are kept in a file beside it, so that a sweep that
ends or is killed meanwhile loses none.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Protocol

from scalelab.core.errors import LedgerError
from scalelab.core.records import Record
from scalelab.store.opening import LedgerBusy

__all__ = ["LedgerWriter"]

# How long the end of a sweep waits for a ledger that somebody holds.
_PATIENCE_S = 120.0
_Job = tuple[Record, "Future[None]"]


class _HasPath(Protocol):
    @property
    def path(self) -> Path: ...


class _Waiting(Protocol):
    """Where records are kept while the ledger is held."""

    @property
    def ledger(self) -> _HasPath: ...

    def append(self, records: Sequence[Record]) -> None: ...

    def clear(self) -> None: ...


class LedgerWriter:
    """One thread that writes. A context manager: leaving it commits all, or raises LedgerError.

    `store` writes a batch of records, all or none. Between commits lies `pause_s`, so that records
    come together and readers find the file free. `left_running` are runs that a killed driver left.
    While `store` raises LedgerBusy, records are kept in `waiting` and `store` is called again:
    until it works, and from `flush` or `close` on for `patience_s`. `messages` are for the user.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Record]], None],
        *,
        waiting: _Waiting,
        left_running: tuple[str, ...] = (),
        pause_s: float = 0.1,
        patience_s: float | None = None,
    ) -> None:
        self.left_running = left_running
        self.messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._store = store
        self._waiting = waiting
        self._pause_s = pause_s
        self._patience_s = _PATIENCE_S if patience_s is None else patience_s
        self._deadline_s: float | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._pending: set[Future[None]] = set()
        self._error: LedgerError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> "Future[None]":
        """Queue a record. The receipt is done once it is in the ledger, or holds the LedgerError.

        Raises the LedgerError of an earlier record that could not be written.
        """
        if self._error is not None:
            raise self._error
        assert not self._closed, "the writer is closed"
        receipt: Future[None] = Future()
        self._pending.add(receipt)
        receipt.add_done_callback(self._pending.discard)
        self._jobs.put((record, receipt))
        return receipt

    def flush(self, on_message: Callable[[str], None] | None = None) -> None:
        """Return when all that was queued is in the ledger. Raises LedgerError if it is not.

        `on_message` is called with the messages that come while this waits.
        """
        self._hurry.set()
        self._deadline_s = time.monotonic() + self._patience_s
        for receipt in list(self._pending):
            while on_message is not None and not receipt.done():
                self.show_messages(on_message)
                time.sleep(0.01)
            receipt.exception()
        if on_message is not None:
            self.show_messages(on_message)
        self._deadline_s = None
        self._hurry.clear()
        if self._error is not None:
            raise self._error

    def show_messages(self, on_message: Callable[[str], None]) -> None:
        """Call `on_message` with each message that has come."""
        while not self.messages.empty():
            on_message(self.messages.get())

    def close(self) -> None:
        """Commit what is queued and end the thread. Raises LedgerError where that failed."""
        if not self._closed:
            self._closed = True
            self._hurry.set()
            self._deadline_s = time.monotonic() + self._patience_s
            self._jobs.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> "LedgerWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except LedgerError:
            if error is None:
                raise

    def _work(self) -> None:
        last = False
        while not last:
            batch, last = self._take()
            num_kept = 0
            while batch:
                try:
                    self._write(batch, num_kept)
                except LedgerBusy as busy:
                    more, ended = self._drain()
                    batch, last = batch + more, last or ended
                    if not self._keep(batch, num_kept, busy):
                        break
                    num_kept = len(batch)
                else:
                    break

    def _take(self) -> tuple[list[_Job], bool]:
        """All that is queued, at least one, after the pause in which more may come."""
        first = self._jobs.get()
        if first is None:
            return [], True
        self._hurry.wait(self._pause_s)
        more, last = self._drain()
        return [first, *more], last

    def _drain(self) -> tuple[list[_Job], bool]:
        """All that is queued now, and whether nothing comes after it."""
        found: list[_Job] = []
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                return found, True
            found.append(job)
        return found, False

    def _keep(self, batch: list[_Job], num_kept: int, busy: LedgerBusy) -> bool:
        """Keep the batch beside the ledger; False where it is not to be tried again."""
        path = self._waiting.ledger.path
        try:
            if num_kept < len(batch):
                self._waiting.append([record for record, _ in batch[num_kept:]])
        except LedgerError as error:
            self._fail(batch, error)
            return False
        if num_kept == 0:
            holder = busy.message.partition("; gave up")[0]
            self.messages.put(f"{holder}: finished runs wait in {path.name}")
        if self._deadline_s is not None and time.monotonic() >= self._deadline_s:
            message = f"{busy.message}; the runs since then wait in {path}"
            hint = "close that program and type the same command again: it stores them first"
            self._fail(batch, LedgerBusy(message, hint))
            return False
        return True

    def _forget(self, batch: list[_Job], num_kept: int) -> None:
        """Remove the records that were kept beside the ledger, if all are in it now."""
        failed = any(receipt.done() and receipt.exception() for _, receipt in batch)
        if num_kept and not failed:
            self._waiting.clear()
            self.messages.put("the ledger is free again, and the runs that waited are stored")

    def _write(self, batch: list[_Job], num_kept: int) -> None:
        """Store the batch, or fail its receipts. Raises LedgerBusy.

        What waits beside the ledger stays there where not all of it could be stored.
        """
        try:
            self._store([record for record, _ in batch])
        except LedgerBusy:
            raise
        except LedgerError as error:
            if len(batch) > 1:
                # One record that cannot be stored must not take the others with it.
                for job in batch:
                    if not job[1].done():
                        self._write([job], 0)
            else:
                self._fail(batch, error)
            self._forget(batch, num_kept)
        except BaseException as error:  # the thread must not end with receipts that nobody answers
            self._fail(batch, LedgerError(f"cannot write the ledger: {error}"))
            self._forget(batch, num_kept)
        else:
            # Before the receipts: who waits for these shows the messages that have come by then.
            self._forget(batch, num_kept)
            for _, receipt in batch:
                if not receipt.done():
                    receipt.set_result(None)

    def _fail(self, batch: list[_Job], error: LedgerError) -> None:
        self._error = self._error or error
        for _, receipt in batch:
            if not receipt.done():
                receipt.set_exception(error)
