from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scalelab import diagnostics


def test_it_names_what_there_is(scalelab: Callable) -> None:
    done = scalelab("doctor", "--json")
    document = done.document
    names = [check["name"] for check in document]
    assert len(names) == len(set(names))
    for name in ("python", "torch", "cuda", "nvml", "threads", "memory", "disk", "duckdb", "ray"):
        assert name in names
    assert {check["state"] for check in document} <= {"ok", "absent", "bad"}
    assert done.code == (1 if any(check["state"] == "bad" for check in document) else 0)


def test_what_is_missing_comes_with_a_command_that_mends_it() -> None:
    for check in diagnostics.run_checks():
        assert check.state == "ok" or check.fix, check


def test_a_library_that_breaks_on_import_is_a_finding_not_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise OSError(f"{name}: wrong ELF class\nsecond line")

    monkeypatch.setattr(diagnostics.importlib, "import_module", broken)
    found = {check.name: check for check in diagnostics.run_checks()}
    assert found["duckdb"].state == "bad"
    assert found["duckdb"].detail == "OSError: duckdb: wrong ELF class second line"
    assert found["duckdb"].fix == "pip install duckdb"


def test_a_data_folder_that_is_not_there_is_bad(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCALELAB_DATA", str(tmp_path / "nowhere"))
    assert diagnostics.run_checks()[-1].state == "bad"
    monkeypatch.setenv("SCALELAB_DATA", str(tmp_path))
    assert diagnostics.run_checks()[-1].state == "ok"


def test_it_reads_as_a_table(scalelab: Callable) -> None:
    done = scalelab("doctor")
    assert done.code in (0, 1)
    for word in ("torch", "cuda", "duckdb", "state", "fix"):
        assert word in done.out


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_an_allocator_that_is_not_the_predicted_one_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "max_split_size_mb:64, expandable_segments:True")
    found = {check.name: check for check in diagnostics.run_checks()}["allocator"]
    assert found.state == "absent"
    assert name in found.detail
    monkeypatch.setenv(name, "expandable_segments:False")
    assert {check.name: check for check in diagnostics.run_checks()}["allocator"].state == "ok"


def test_a_slice_of_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {check.name: check for check in diagnostics.run_checks()}["mig"].state == "ok"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    found = {check.name: check for check in diagnostics.run_checks()}["mig"]
    assert found.state == "absent"
    assert "device_used is not read" in found.detail


@pytest.mark.parametrize(
    ("version", "told"),
    [("2.11.0+cu130", False), ("2.14.1", False), ("2.15.0", True), ("3.0.0", True)],
)
def test_a_torch_newer_than_any_tested_one_is_told(
    version: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    found = {check.name: check for check in diagnostics.run_checks()}["torch"]
    assert found.state == "ok"
    assert ("newest tested" in found.detail) is told


def test_a_file_without_a_measurement_is_refused(scalelab):
    """It would have written nothing, in silence."""
    found = scalelab("doctor", "--out", "mine.toml")
    assert (found.code, found.err.splitlines()[0]) == (
        2,
        "error: --out is for the device profile of --calibrate",
    )
