"""Run each task as one Ray task on a node of a cluster (extra `ray`)."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, ClassVar, NamedTuple

import ray
from pydantic import Field
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scalelab.core.events import Progress
from scalelab.core.identity import ATTRIBUTES
from scalelab.core.item_attributes import attributes_file
from scalelab.core.records import Memory, Outcome, Record
from scalelab.core.units import format_bytes
from scalelab.workers.dataset_transfer import pack, unpack
from scalelab.workers.executors._options import Threads, Workers
from scalelab.workers.part_transfer import as_sent, pack_parts, unpack_parts
from scalelab.workers.supervise import StopRequest, supervise
from scalelab.workers.task import ExecutorDied, Task, task_record

__all__ = ["Cluster"]


class Cluster:
    """Runs `workers` tasks at a time on the whole cluster; 1 means as many as it has slots for.

    `address` is that of a running cluster ("auto" finds this machine's); without one, Ray starts
    here. A run on a GPU gets one GPU of a node whose GPUs have its predicted memory; any other
    run gets `threads` cores and that memory. A run that no node is large enough for is skipped.
    Runs of a lost node are reported as lost.
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
        self._started_here = False
        self._tasks: dict[Any, Task] = {}
        self._skipped: list[tuple[Task, str]] = []
        self._transfers: dict[str, Any] = {}
        self._gpu_bytes: dict[str, int | None] = {}

    def open(
        self,
        *,
        run: str,
        on_progress: Callable[[Progress], None],
        on_record: Callable[[Record], None],
        on_lost: Callable[[str, str, Sequence[Memory]], None],
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
            self._started_here = True
        if self._workers == 1:
            resources = ray.cluster_resources()
            slots = resources.get("GPU", 0) or resources.get("CPU", 1) // self._threads
            self.slots = max(1, int(slots))
        home = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox: Any = (
            ray.remote(num_cpus=0)(_Mailbox).options(scheduling_strategy=home).remote()
        )

    def submit(self, task: Task) -> None:
        """Give the task to Ray with a reference to its data; skip it if no node is large enough."""
        with _connected():
            resources = self._resources(task)
        if isinstance(resources, str):  # Ray would wait for ever
            self._skipped.append((task, resources))
            return
        with _connected():
            # Inside a list Ray passes the reference itself: only a node that needs it fetches it.
            transfers = [self._transfer_of(task), pack_parts(task.spec)]
            setting = _Setting(self._run, self._modules, self._threads)
            reference = (
                ray.remote(max_calls=1, max_retries=0)(_work)
                .options(**resources)
                .remote(task, setting, self._mailbox, transfers)
            )
        self._tasks[reference] = task

    def _transfer_of(self, task: Task) -> Any:
        """Ray's reference to the files of the task's data set, put there once."""
        attributes = task.spec.sources.get(ATTRIBUTES, "")
        data = task.spec.data.model_dump_json() + attributes
        if data not in self._transfers:
            beside = attributes_file(task.spec.data, task.spec.model) if attributes else None
            transfer = pack(task.spec.data, (task.data_fingerprint or "") + attributes, beside)
            self._transfers[data] = None if transfer is None else ray.put(transfer)
        return self._transfers[data]

    def poll(self, timeout_s: float) -> None:
        """Handle the progress and the results of the runs."""
        while self._skipped:
            task, why = self._skipped.pop()
            self._on_record(task_record(task, Outcome.SKIPPED, phase="plan", error=why))
        if not self._tasks:
            return
        with _connected():
            done, _ = ray.wait(list(self._tasks), num_returns=1, timeout=timeout_s)
            reports = ray.get(self._mailbox.take_progress.remote())
        for progress in reports:
            self._on_progress(progress)
        for reference in done:
            task = self._tasks.pop(reference)
            try:
                record: Record = ray.get(reference)
            except exceptions.OutOfMemoryError as error:
                line = str(error).splitlines()[0]
                self._on_record(task_record(task, Outcome.OOM, phase="setup", error=line))
            except (exceptions.RayTaskError, exceptions.RuntimeEnvSetupError) as error:
                line = str(error).strip().splitlines()[-1]
                self._on_record(task_record(task, Outcome.FAILED, phase="setup", error=line))
            except exceptions.RayError as error:
                self._on_lost(task.run_id, f"its node was lost ({type(error).__name__})", ())
            else:
                # The spec as submitted: paths on the node are not stored.
                self._on_record(replace(record, run=as_sent(record.run, task.spec)))

    def stop(self, now: bool) -> None:
        """Ask all runs to stop after their epoch, or end them `now`."""
        reason = "stopped at once" if now else ""
        for task in self._tasks.values():
            self._request_stop(
                task.run_id, StopRequest(outcome=Outcome.INTERRUPTED, reason=reason, now=now)
            )

    def end(self, run_id: str, outcome: Outcome, reason: str) -> None:
        """End one run."""
        self._request_stop(run_id, StopRequest(outcome=outcome, reason=reason, now=False))

    def close(self) -> None:
        """Cancel what runs and disconnect; end the cluster where it was started here."""
        for reference in self._tasks:
            ray.cancel(reference, force=True)
        self._tasks.clear()
        if self._started_here:
            ray.shutdown()
            self._started_here = False

    def _resources(self, task: Task) -> dict[str, Any] | str:
        """Ray's resources for the task, from its prediction; or the reason why no node has them."""
        nodes = [node for node in ray.nodes() if node["Alive"]]
        expected = task.expected_bytes or 0
        if task.spec.device.name == "cpu":
            able = [node for node in nodes if node["Resources"].get("CPU", 0) >= self._threads]
            if not able:
                most = _most(nodes, "CPU")
                return f"no node of the cluster has {self._threads} cores, at most {most:g}"
            resources: dict[str, Any] = {"num_cpus": self._threads}
            if task.expected_bytes is not None:
                resources["memory"] = expected
                if expected > (most := _most(able, "memory")):
                    has = format_bytes(int(most))
                    return f"predicted {format_bytes(expected)}; the largest node offers {has}"
            return resources
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
        """Memory of the node's smallest GPU, read once per node; None where it cannot be read."""
        name = node["NodeID"]
        if name not in self._gpu_bytes:
            on_node = NodeAffinitySchedulingStrategy(name, soft=False)
            function = ray.remote(num_cpus=0)(_smallest_gpu)
            self._gpu_bytes[name] = ray.get(function.options(scheduling_strategy=on_node).remote())
        return self._gpu_bytes[name]

    def _request_stop(self, run_id: str, request: StopRequest) -> None:
        with _connected():
            ray.get(self._mailbox.request_stop.remote(run_id, request))


@contextmanager
def _connected() -> Iterator[None]:
    """Raises ExecutorDied in place of Ray's errors: what they are raised for is the cluster's end.

    The driver's own actor runs on its own node, so it ends with the cluster's head only.
    """
    try:
        yield
    except (exceptions.RayError, ConnectionError) as error:
        line = str(error).strip().partition("\n")[0]
        message = f"the Ray cluster has ended: {line or type(error).__name__}"
        raise ExecutorDied(message, "start it and type the same command again") from error


class _Mailbox:
    """An actor on the driver's node: progress for the driver, stop requests for the runs."""

    def __init__(self) -> None:
        self.stop_requests: dict[str, StopRequest] = {}
        self.progress: list[Progress] = []

    def exchange(self, run_id: str, progress: list[Progress]) -> StopRequest | None:
        """Add progress of a run, and return the request to stop it, if there is one."""
        self.progress += progress
        return self.stop_requests.get(run_id)

    def request_stop(self, run_id: str, request: StopRequest) -> None:
        """Store the driver's request to stop a run."""
        self.stop_requests[run_id] = request

    def take_progress(self) -> list[Progress]:
        """The progress since the last call."""
        found, self.progress = self.progress, []
        return found


class _Setting(NamedTuple):
    """What runs the tasks, the modules to import before, and the threads of each."""

    run: str
    modules: Sequence[str]
    threads: int


def _work(task: Task, setting: _Setting, mailbox: Any, transfers: list[Any]) -> Record:
    """Run one task on its node, in a process of its own, so that each way to end gives a record."""
    reference, part_files = transfers
    task = replace(task, spec=unpack_parts(task.spec, part_files))
    if reference is not None:
        data = unpack(task.spec.data, lambda: ray.get(reference))
        task = replace(task, spec=task.spec.model_copy(update={"data": data}))
    unsent: list[Progress] = []
    last_s = 0.0

    def stop_request() -> StopRequest | None:
        nonlocal last_s
        if time.monotonic() - last_s < 0.5:
            return None
        last_s = time.monotonic()
        progress = list(unsent)
        unsent.clear()
        return ray.get(mailbox.exchange.remote(task.run_id, progress))

    record = supervise(
        task,
        setting.run,
        setting.modules,
        threads=setting.threads,
        on_progress=unsent.append,
        stop_request=stop_request,
    )
    ray.get(mailbox.exchange.remote(task.run_id, list(unsent)))
    return record


def _smallest_gpu() -> int | None:
    """Memory of the smallest GPU of this node, by NVML: Ray hides the GPUs from CUDA."""
    from scalelab.measure.probes.nvml import Nvml

    return Nvml.smallest_gpu_bytes()


def _most(nodes: list[dict[str, Any]], resource: str) -> float:
    return max((node["Resources"].get(resource, 0.0) for node in nodes), default=0.0)
