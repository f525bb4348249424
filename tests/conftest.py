"""The devices, ledgers and settings that all tests share."""

import gc
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from scalelab.store import opening, versions
from scalelab.store.ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent

# Runs that are quick stand-ins. The process that runs are forked from takes over this path.
sys.path.insert(0, str(Path(__file__).parent / "fakes"))

# numba compiles at the first call, which breaks a deadline of milliseconds.
settings.register_profile("scalelab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("scalelab")
# Without the slow tests a quarter of the random examples; CI runs all.
settings.register_profile("fast", parent=settings.get_profile("scalelab"), max_examples=25)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many random examples are tried."""
    if "not slow" in config.option.markexpr:
        settings.load_profile("fast")


def _bases(item: pytest.Item) -> tuple[type, ...]:
    return getattr(getattr(item, "cls", None), "__mro__", ())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the laws of `scalelab.testing` that run on a GPU: elsewhere nobody knows the mark."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        laws = any(each.__module__ == "scalelab.testing.losses" for each in _bases(item))
        if laws and callspec is not None and callspec.params.get("device") == "cuda":
            item.add_marker(pytest.mark.gpu)


# What is imported and collected lives to the end: it is not walked through again and again.
gc.disable()


def pytest_collection_finish() -> None:
    """Let the collector look only at what the tests make."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """At the end everything goes, or triton lists what it has left."""
    gc.unfreeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is about `linear_ce` where torch does not have that operation yet."""
    if "linear_ce" in item.name:
        import torch

        if not hasattr(torch.nn.functional, "linear_cross_entropy"):
            pytest.skip(f"linear_ce needs torch 2.13, this is {torch.__version__}")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device in turn; `cuda` only where a GPU answers."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU found")
    return request.param


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data sets and references (`SCALELAB_SHARED`, else beside the repository)."""
    folder = Path(os.environ.get("SCALELAB_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set SCALELAB_SHARED")
    return folder


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, and none of our variables set."""
    for name in list(os.environ):
        if name.startswith("SCALELAB_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def profiler_peak() -> Callable[[Callable[[], object]], int]:
    """The highest sum of `torch.profiler`'s own allocation events while a function runs."""

    import torch

    def measure(work: Callable[[], object]) -> int:
        with torch.profiler.profile(profile_memory=True, acc_events=True) as profiler:
            work()
        events: list[tuple[int, int]] = []

        def walk(nodes: list[Any]) -> None:
            for node in nodes:
                if node.tag.name == "Allocation":
                    events.append((node.start_time_ns, node.extra_fields.alloc_size))
                walk(node.children)

        kineto: Any = profiler.profiler
        walk(kineto.kineto_results.experimental_event_tree())
        events.sort(key=lambda event: event[0])
        live = peak = 0
        for _, size in events:
            live += size
            peak = max(peak, live)
        return peak

    return measure


@pytest.fixture(scope="session")
def fake():
    """The module that makes records up (tests/store/fake.py)."""
    spec = importlib.util.spec_from_file_location("fake", ROOT / "tests" / "store" / "fake.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake"] = module
    spec.loader.exec_module(module)
    return module


_CREATE = versions.create


@pytest.fixture(scope="session")
def made_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger as `versions.create` makes it, to be copied."""
    path = tmp_path_factory.mktemp("made") / "made.duckdb"
    _CREATE(path)
    return path


@pytest.fixture(autouse=True)
def _copied_ledgers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new ledger is a copy, which takes a fraction of the time of its tables and views."""
    if request.node.get_closest_marker("creates_ledgers"):
        return

    def copied(path: Path) -> None:
        if path.exists() or not path.parent.is_dir():
            _CREATE(path)
            return
        shutil.copyfile(request.getfixturevalue("made_ledger"), path)
        monkeypatch.setitem(opening._checked, path.resolve(), opening._state_of(path))

    monkeypatch.setattr(versions, "create", copied)


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A ledger without runs."""
    return Ledger.create_or_open(tmp_path_factory.mktemp("empty") / "empty.duckdb")


@pytest.fixture(scope="session")
def study(fake, tmp_path_factory):
    """A ledger of some seventy runs, with a spec and messages that try to break the page."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("study") / "quickstart.duckdb")
    records = fake.study()
    ledger.append(records)
    started = records[0].run.started_at
    ledger.add_study("study-1", "quick <i>start</i>", fake.STUDY_TOML, started)
    return ledger
