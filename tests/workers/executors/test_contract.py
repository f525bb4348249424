"""What every executor promises: the records that inline gives."""

import pytest
from sweeping_helpers import hooks

from scalelab.core import plugins
from scalelab.store.ledger import Ledger

# What says where and when a run ran, and not what came of it.
WHERE = ("started_at", "wall_s")


def executors():
    for name in plugins.available("executors"):
        marks = [pytest.mark.ray] if name == "cluster" else []
        yield pytest.param(name, marks=marks)


@pytest.fixture
def executor(request):
    """A name, where its package is there."""
    if request.param == "cluster":
        pytest.importorskip("ray", reason="needs the extra `ray`")
    return request.param


def stored(path, table):
    found = Ledger(path).query(f"SELECT * FROM {table}").to_pylist()
    plain = [{k: v for k, v in row.items() if k not in WHERE} for row in found]
    return sorted(plain, key=repr)


@pytest.mark.parametrize("executor", list(executors()), indirect=True)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.slow
def test_records_are_the_same_as_inline(executor, workers, study, sweep, tmp_path, observer):
    asked = study(axes={"batch.size": [4, 8, 16], "data.path": ["ok", "raise"]})
    sweep(asked, ledger=tmp_path / "inline.duckdb")
    result = sweep(
        asked,
        ledger=tmp_path / "other.duckdb",
        executor=executor,
        workers=workers,
        observer=observer,
        hooks=hooks(modules=lambda specs: ["scalelab.measure.session"]),
    )
    assert result.counts == {"done": 3, "failed": 3}
    for table in ("runs", "metrics", "memory"):
        ours = stored(tmp_path / "other.duckdb", table)
        theirs = stored(tmp_path / "inline.duckdb", table)
        assert ours == theirs
    assert {progress.run_id for progress in observer.progress} == set(observer.started)
