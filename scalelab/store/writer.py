"""Records in from any thread, batches of them written by one thread, a receipt for each out."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType

from scalelab.core.errors import LedgerError
from scalelab.core.records import Record

__all__ = ["LedgerWriter"]

_Job = tuple[Record, "Future[None]"]


class LedgerWriter:
    """One thread that writes. A context manager: leaving it commits all, or raises LedgerError.

    `store` writes a batch of records, all or none. Between commits lies `pause_s`, so that records
    come together and readers find the file free. `left_running` are runs that a killed driver left.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Record]], None],
        *,
        left_running: tuple[str, ...] = (),
        pause_s: float = 0.1,
    ) -> None:
        self.left_running = left_running
        self._store = store
        self._pause_s = pause_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._pending: set[Future[None]] = set()
        self._error: LedgerError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> "Future[None]":
        """Queues a record. The receipt is done once it is on disk, or holds the LedgerError.

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

    def flush(self) -> None:
        """Returns when all that was queued before is on disk. Raises LedgerError if it is not."""
        self._hurry.set()
        for receipt in list(self._pending):
            receipt.exception()
        self._hurry.clear()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Commits what is queued and ends the thread. Raises LedgerError where that failed."""
        if not self._closed:
            self._closed = True
            self._hurry.set()
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
        while True:
            batch, last = self._take()
            if batch:
                self._write(batch)
            if last:
                return

    def _take(self) -> tuple[list[_Job], bool]:
        """All that is queued, at least one, after the pause in which more may come."""
        first = self._jobs.get()
        if first is None:
            return [], True
        self._hurry.wait(self._pause_s)
        batch = [first]
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _write(self, batch: list[_Job]) -> None:
        try:
            self._store([record for record, _ in batch])
        except LedgerError as error:
            if len(batch) > 1:
                # One record that cannot be stored must not take the others with it.
                for job in batch:
                    self._write([job])
                return
            self._error = self._error or error
            batch[0][1].set_exception(error)
        except BaseException as error:  # the thread must not die with receipts that nobody answers
            self._error = self._error or LedgerError(f"cannot write the ledger: {error}")
            for _, receipt in batch:
                receipt.set_exception(self._error)
        else:
            for _, receipt in batch:
                receipt.set_result(None)
