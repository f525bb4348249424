"""A cluster of two nodes, one of which dies on the way."""

import threading
import time

import pytest
from sweeping_helpers import hooks

from scalelab.store.ledger import Ledger
from scalelab.studies.forecast import Forecast

ray = pytest.importorskip("ray", reason="needs the extra `ray`")
pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and files of processes that it killed to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def two_nodes(monkeypatch):
    """A head with one core and a second node with another."""
    import os
    import sys

    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, include_dashboard=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


METRICS = """SELECT batch_size, split, epoch, value FROM metrics JOIN runs USING (run_id)
             WHERE outcome = 'done' ORDER BY ALL"""


def test_a_lost_node_means_runs_repeated_and_the_same_results(
    two_nodes, study, sweep, tmp_path, observer
):
    cluster, second = two_nodes
    sizes = [2, 4, 8, 16, 32]
    asked = study(axes={"batch.size": sizes}, set={"train.learning_rate": 1.0, "train.epochs": 5})
    ledger = tmp_path / "cluster.duckdb"
    killed = threading.Event()

    def kill_the_second():
        # Two runs in their first epochs, one core a node: the second node is at work.
        while True:
            over = {record.run.run_id for record in list(observer.ended)}
            epochs = {p.run_id: p.epoch for p in list(observer.progress) if p.run_id not in over}
            if over and len(epochs) == 2 and max(epochs.values()) <= 3:
                break
            time.sleep(0.1)
        cluster.remove_node(second, allow_graceful=False)
        killed.set()

    killing = threading.Thread(target=kill_the_second)
    killing.start()
    result = sweep(asked, ledger=ledger, executor="cluster", workers=2, observer=observer)
    killing.join()
    assert killed.is_set()
    assert result.counts == {"done": 5}
    lost = Ledger(ledger).query("SELECT error FROM runs WHERE outcome = 'interrupted'").to_pylist()
    assert lost, "the second node was busy when it died"
    assert all("node" in row["error"] for row in lost)
    sweep(asked, ledger=tmp_path / "here.duckdb", executor="processes", workers=2)
    ours = Ledger(ledger).query(METRICS).to_pylist()
    assert ours == Ledger(tmp_path / "here.duckdb").query(METRICS).to_pylist()


GPU = 2**33


@pytest.fixture
def two_gpus(two_nodes):
    """Both nodes are said to have a GPU, the second one of four times the memory."""
    cluster, second = two_nodes
    cluster.remove_node(second)
    large = cluster.add_node(num_cpus=1, num_gpus=1, env_vars={"SCALELAB_TEST_NODE": "large"})
    small = cluster.add_node(num_cpus=1, num_gpus=1, env_vars={"SCALELAB_TEST_NODE": "small"})
    return {large.node_id: 4 * GPU, small.node_id: GPU}


def predicted(sizes):
    def forecast(specs, budget_bytes):
        return [
            Forecast(total_bytes=0, needed_bytes=sizes[s.batch.size], seconds=1.0) for s in specs
        ], []

    return forecast


def test_runs_go_where_their_prediction_fits(two_gpus, study, sweep, tmp_path, monkeypatch):
    from scalelab.workers.executors import cluster

    # Asked for real, these nodes have no NVML, and a run is not kept from what is not known.
    assert all(cluster.Cluster()._gpu({"NodeID": name}) is None for name in two_gpus)
    monkeypatch.setattr(cluster.Cluster, "_gpu", lambda self, node: two_gpus[node["NodeID"]])
    sizes = {16: 3 * GPU, 17: 3 * GPU, 18: 3 * GPU, 64: 5 * GPU}
    asked = study(
        axes={"batch.size": list(sizes)}, set={"data.path": "where", "device.name": "cuda"}
    )
    path = tmp_path / "gpus.duckdb"
    fakes = hooks(forecast=predicted(sizes))
    result = sweep(asked, ledger=path, executor="cluster", workers=2, hooks=fakes)
    assert result.counts == {"failed": 3, "skipped": 1}
    said = Ledger(path).query("SELECT batch_size, error FROM runs ORDER BY 1").to_pylist()
    assert all(row["error"].endswith("on the node large") for row in said[:3]), said
    assert said[3]["error"] == "predicted 40 GiB; the largest GPU of the cluster has 32 GiB"


def test_what_no_node_has_room_for_does_not_wait_for_ever(two_nodes, study, sweep, tmp_path):
    fakes = hooks(forecast=predicted({16: 2**50, 8: 2**20}))
    result = sweep(study(axes={"batch.size": [8, 16]}), executor="cluster", workers=2, hooks=fakes)
    assert result.counts == {"done": 1, "skipped": 1}
    result = sweep(study(set={"device.name": "cuda"}), executor="cluster", workers=2)
    assert result.counts == {"skipped": 1}
    sql = "SELECT error FROM runs WHERE outcome = 'skipped' ORDER BY started_at"
    said = [row["error"] for row in Ledger(tmp_path / "fake.duckdb").query(sql).to_pylist()]
    assert "predicted 1024 TiB; the largest node offers" in said[0]
    assert said[1] == "no node of the cluster has a GPU"


def test_the_end_of_the_driver_node_ends_the_sweep_in_one_line(two_nodes, study, sweep, tmp_path):
    from scalelab.workers.executors import cluster
    from scalelab.workers.task import ExecutorDied

    submitted = []
    submit = cluster.Cluster.submit

    def submitting(self, task):
        submit(self, task)
        submitted.append(task.run_id)
        ray.kill(self._mailbox)
        # Ray ends an actor some time later: wait, so that the driver's next call finds it dead.
        with pytest.raises(ray.exceptions.RayActorError):
            _call_for_ever(self._mailbox)

    asked = study(set={"train.epochs": 5, "train.learning_rate": 1.0})
    patch = pytest.MonkeyPatch()
    patch.setattr(cluster.Cluster, "submit", submitting)
    try:
        with pytest.raises(ExecutorDied, match="the Ray cluster has ended") as caught:
            sweep(asked, executor="cluster", workers=2)
    finally:
        patch.undo()
    assert "\n" not in str(caught.value)
    assert submitted
    found = Ledger(tmp_path / "fake.duckdb").query("SELECT outcome FROM runs").to_pylist()
    assert {row["outcome"] for row in found} == {"interrupted"}


def _call_for_ever(mailbox):
    while True:
        ray.get(mailbox.take_progress.remote(), timeout=60)
