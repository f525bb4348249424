"""A cluster of two nodes, one of which dies on the way."""

import threading
import time

import pytest

from scalelab.store.ledger import Ledger

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
    two_nodes, study, sweep, tmp_path, heard
):
    cluster, second = two_nodes
    sizes = [2, 4, 8, 16, 32]
    asked = study(axes={"batch.size": sizes}, set={"train.learning_rate": 1.0, "train.epochs": 5})
    ledger = tmp_path / "cluster.duckdb"
    killed = threading.Event()

    def kill_the_second():
        # Two runs in their first epochs, one core a node: the second node is at work.
        while True:
            over = {record.run.run_id for record in list(heard.ended)}
            epochs = {p.run_id: p.epoch for p in list(heard.progress) if p.run_id not in over}
            if over and len(epochs) == 2 and max(epochs.values()) <= 3:
                break
            time.sleep(0.1)
        cluster.remove_node(second, allow_graceful=False)
        killed.set()

    killing = threading.Thread(target=kill_the_second)
    killing.start()
    result = sweep(asked, ledger=ledger, executor="cluster", workers=2, observer=heard)
    killing.join()
    assert killed.is_set()
    assert result.counts == {"done": 5}
    lost = Ledger(ledger).query("SELECT error FROM runs WHERE outcome = 'interrupted'").to_pylist()
    assert lost, "the second node was busy when it died"
    assert all("node" in row["error"] for row in lost)
    sweep(asked, ledger=tmp_path / "here.duckdb", executor="processes", workers=2)
    ours = Ledger(ledger).query(METRICS).to_pylist()
    assert ours == Ledger(tmp_path / "here.duckdb").query(METRICS).to_pylist()
