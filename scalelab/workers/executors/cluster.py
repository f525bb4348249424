"""Tasks in, records out; each run is one Ray task on any node of a cluster (extra `ray`)."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import ray
from pydantic import Field
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scalelab.core.events import Progress
from scalelab.core.records import Outcome, Record
from scalelab.core.units import format_bytes
from scalelab.workers.dataset_transfer import Parcel, pack, unpack
from scalelab.workers.executors._options import Threads, Workers
from scalelab.workers.supervise import Order, supervise
from scalelab.workers.task import Task, ended
from scalelab.workers.worker import ALLOWANCE

__all__ = ["Cluster"]


class Cluster:
    """`workers` runs at a time on the whole cluster; 1 takes as many as there is room for.

    `address` is that of a running cluster ("auto" finds this machine's); without one, Ray starts
    here. A run takes a GPU if its device is one, of a node whose GPUs have the memory it is
    predicted to take; else `threads` cores and that memory. What no node has room for is skipped.
    Runs of a lost node come back as lost.
    """

    blocking: ClassVar[bool] = False
    shares_memory: ClassVar[bool] = False

    def __init__(
        self,
        *,
        workers: Workers = 1,
        threads: Threads = 0,
        address: Annotated[
            str, Field(description="address of the Ray head; empty: a cluster of this machine")
        ] = "",
    ) -> None:
        self.slots = workers
        self._workers = workers
        self._threads = max(threads, 1)
        self._address = address
        self._ours = False
        self._tasks: dict[Any, Task] = {}
        self._refused: list[tuple[Task, str]] = []
        self._parcels: dict[str, Any] = {}
        self._gpu_bytes: dict[str, int | None] = {}

    def open(
        self,
        run: str,
        on_progress: Callable[[Progress], None],
        on_record: Callable[[Record], None],
        on_lost: Callable[[str, str], None],
        modules: Sequence[str],
    ) -> None:
        """Join the cluster, or start one here."""
        self._run, self._modules = run, tuple(modules)
        self._on_progress, self._on_record, self._on_lost = on_progress, on_record, on_lost
        if not ray.is_initialized():
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            path = os.pathsep.join(entry for entry in sys.path if entry)
            ray.init(
                address=self._address or None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False,
                runtime_env={"env_vars": {"PYTHONPATH": path}},
            )
            self._ours = True
        if self._workers == 1:
            here = ray.cluster_resources()
            rooms = here.get("GPU", 0) or here.get("CPU", 1) // self._threads
            self.slots = max(1, int(rooms))
        home = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._post: Any = ray.remote(num_cpus=0)(_Post).options(scheduling_strategy=home).remote()

    def submit(self, task: Task) -> None:
        """Hand the task to Ray, with a reference to its data; or keep it, if no node is enough."""
        wanted = self._wanted(task)
        if isinstance(wanted, str):  # Ray would let it wait for ever
            self._refused.append((task, wanted))
            return
        data = task.spec.data.model_dump_json()
        if data not in self._parcels:
            parcel = pack(task.spec.data, task.data_fingerprint or "")
            self._parcels[data] = None if parcel is None else ray.put(parcel)
        # Within a list a reference is passed on as it is, and fetched only where it is needed.
        parcels = [self._parcels[data]]
        reference = (
            ray.remote(max_calls=1, max_retries=0)(_work)
            .options(**wanted)
            .remote(task, self._run, self._modules, self._threads, self._post, parcels)
        )
        self._tasks[reference] = task

    def poll(self, timeout_s: float) -> None:
        """Hear the runs."""
        while self._refused:
            task, why = self._refused.pop()
            self._on_record(ended(task, Outcome.SKIPPED, phase="plan", error=why))
        if not self._tasks:
            return
        done, _ = ray.wait(list(self._tasks), num_returns=1, timeout=timeout_s)
        for progress in ray.get(self._post.collect.remote()):
            self._on_progress(progress)
        for reference in done:
            task = self._tasks.pop(reference)
            try:
                record: Record = ray.get(reference)
            except exceptions.OutOfMemoryError as error:
                line = str(error).splitlines()[0]
                self._on_record(ended(task, Outcome.OOM, phase="setup", error=line))
            except (exceptions.RayTaskError, exceptions.RuntimeEnvSetupError) as error:
                line = str(error).strip().splitlines()[-1]
                self._on_record(ended(task, Outcome.FAILED, phase="setup", error=line))
            except exceptions.RayError as error:
                self._on_lost(task.run_id, f"lost with its node ({type(error).__name__})")
            else:
                # The spec as it was asked for: where the node keeps its data is its own affair.
                run = replace(record.run, spec=task.spec.as_json())
                self._on_record(replace(record, run=run))

    def stop(self, now: bool) -> None:
        """Ask all runs to stop after their epoch, or end them `now`."""
        reason = "stopped at once" if now else ""
        for task in self._tasks.values():
            self._order(task.run_id, Order(outcome=Outcome.INTERRUPTED, reason=reason, now=now))

    def end(self, run_id: str, outcome: Outcome, reason: str) -> None:
        """End one run."""
        self._order(run_id, Order(outcome=outcome, reason=reason, now=False))

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        for reference in self._tasks:
            ray.cancel(reference, force=True)
        self._tasks.clear()
        if self._ours:
            ray.shutdown()
            self._ours = False

    def _wanted(self, task: Task) -> dict[str, Any] | str:
        """What the task asks of its node, by its prediction; or why no node has that."""
        nodes = [node for node in ray.nodes() if node["Alive"]]
        expected = task.expected_bytes or 0
        if task.spec.device.name == "cpu":
            able = [node for node in nodes if node["Resources"].get("CPU", 0) >= self._threads]
            if not able:
                most = _most(nodes, "CPU")
                return f"no node of the cluster has {self._threads} cores, at most {most:g}"
            wanted: dict[str, Any] = {"num_cpus": self._threads}
            if task.expected_bytes is not None:
                wanted["memory"] = expected + ALLOWANCE
                if wanted["memory"] > (most := _most(able, "memory")):
                    has = format_bytes(int(most))
                    return f"predicted {format_bytes(expected)}; the largest node offers {has}"
            return wanted
        sizes = {node["NodeID"]: self._gpu(node) for node in nodes if node["Resources"].get("GPU")}
        if not sizes:
            return "no node of the cluster has a GPU"
        large = [node for node, size in sizes.items() if size is None or size >= expected]
        if not large:
            has = format_bytes(max(size or 0 for size in sizes.values()))
            return f"predicted {format_bytes(expected)}; the largest GPU of the cluster has {has}"
        if len(large) == len(sizes):
            return {"num_gpus": 1}
        return {"num_gpus": 1, "label_selector": {"ray.io/node-id": f"in({','.join(large)})"}}

    def _gpu(self, node: dict[str, Any]) -> int | None:
        """Memory of the node's smallest GPU, asked for once; None where it cannot be told."""
        name = node["NodeID"]
        if name not in self._gpu_bytes:
            there = NodeAffinitySchedulingStrategy(name, soft=False)
            asked = ray.remote(num_cpus=0)(_smallest_gpu)
            self._gpu_bytes[name] = ray.get(asked.options(scheduling_strategy=there).remote())
        return self._gpu_bytes[name]

    def _order(self, run_id: str, order: Order) -> None:
        ray.get(self._post.order.remote(run_id, order))


class _Post:
    """An actor beside the driver: progress is left here for it, and orders for the runs."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.left: list[Progress] = []

    def tell(self, run_id: str, news: list[Progress]) -> Order | None:
        """A run says how it stands and hears what it is to do."""
        self.left += news
        return self.orders.get(run_id)

    def order(self, run_id: str, order: Order) -> None:
        """The driver wants a run to end."""
        self.orders[run_id] = order

    def collect(self) -> list[Progress]:
        """What came since the last call."""
        found, self.left = self.left, []
        return found


def _work(
    task: Task, run: str, modules: Sequence[str], threads: int, post: Any, parcels: list[Any]
) -> Record:
    """One run, on its node: in a process of its own there too, so that every death is a record."""
    (reference,) = parcels
    if reference is not None:
        data = unpack(task.spec.data, lambda: _fetched(reference))
        task = replace(task, spec=task.spec.model_copy(update={"data": data}))
    news: list[Progress] = []
    last_s = 0.0

    def orders() -> Order | None:
        nonlocal last_s
        if time.monotonic() - last_s < 0.5:
            return None
        last_s = time.monotonic()
        told = list(news)
        news.clear()
        return ray.get(post.tell.remote(task.run_id, told))

    record = supervise(task, run, modules, threads, news.append, orders)
    ray.get(post.tell.remote(task.run_id, list(news)))
    return record


def _smallest_gpu() -> int | None:
    """On a node: what its GPUs have. Not by CUDA, from which Ray hides them."""
    from scalelab.measure.probes.nvml import Nvml

    return Nvml.smallest_gpu_bytes()


def _most(nodes: list[dict[str, Any]], resource: str) -> float:
    return max((node["Resources"].get(resource, 0.0) for node in nodes), default=0.0)


def _fetched(reference: Any) -> Parcel:
    return ray.get(reference)
