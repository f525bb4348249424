import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.measure.probes.nvml import Nvml

READ = """
import json, sys, torch
from scalelab.measure.probes.nvml import Nvml
Nvml.uuid_of = staticmethod(lambda device: sys.argv[1])
probe = Nvml(every_s=0.0)
probe.open(torch.device("cuda"), lambda: 1.5)
probe.on_step_end(1, 0, 10)
probe.on_epoch_end(1, 0.5, {})
probe.on_epoch_end(2, 0.5, {})
probe.close()
print(json.dumps({
    "samples": [[s.name, s.value, s.unit] for s in probe.samples],
    "memory": [[m.kind, m.bytes, m.reason] for m in probe.memory()],
}))
"""


def _built(tmp_path_factory: pytest.TempPathFactory, *flags: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml_stand_in.c")
    target = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", *flags, str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library that answers as NVML does."""
    return _built(tmp_path_factory)


@pytest.fixture(scope="module")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, of a driver that does not tell its own memory apart."""
    return _built(tmp_path_factory, "-DOLD")


def _read(library: Path, uuid: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", READ, uuid],
        env=os.environ | {"LD_LIBRARY_PATH": str(library)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_it_reads_what_the_driver_says(library: Path) -> None:
    found = _read(library, "GPU-11112222-3333-4444-5555-666677778888")
    values: dict[str, list[Any]] = {}
    for name, value, _ in found["samples"]:
        values.setdefault(name, []).append(value)
    assert set(values["device_used"]) == {2 * 2**30}
    assert set(values["utilisation"]) == {87}
    assert set(values["power"]) == {251.5}
    assert set(values["throttled"]) == {1.0}
    assert set(values["sm_clock"]) == {None}
    assert values["energy_epoch"] == [2.0, 2.0]
    assert values["energy_run"] == [6.0]
    assert found["memory"] == [["device_used", 2 * 2**30, None]]


@pytest.mark.slow
def test_an_old_driver_counts_its_own_memory_too_and_the_row_says_so(old_library: Path) -> None:
    found = _read(old_library, "GPU-11112222-3333-4444-5555-666677778888")
    [[kind, count, reason]] = found["memory"]
    assert (kind, count) == ("device_used", 3 * 2**30)
    assert "driver keeps for itself" in reason


@pytest.mark.slow
def test_a_gpu_that_is_not_found_is_a_reason(library: Path) -> None:
    found = _read(library, "GPU-none")
    assert found["samples"] == []
    [[kind, count, reason]] = found["memory"]
    assert (kind, count) == ("device_used", None)
    assert "Not Found" in reason


def test_a_run_without_a_gpu_is_a_reason() -> None:
    probe = Nvml()
    probe.open(torch.device("cpu"), lambda: 0.0)
    probe.on_step_end(1, 0, 10)
    probe.close()
    [row] = probe.memory()
    assert (row.bytes, row.reason) == (None, "the run uses no GPU")


@pytest.mark.slow
def test_the_smallest_gpu_counts(library: Path) -> None:
    code = "from scalelab.measure.probes.nvml import Nvml; print(Nvml.smallest_gpu_bytes())"
    for folder, expected in ((library, str(11 * 2**30)), (library / "none", "None")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"LD_LIBRARY_PATH": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [expected]


@pytest.mark.slow
def test_the_driver_names_its_gpus_and_what_cuda_can_give_of_them(
    library: Path, old_library: Path
) -> None:
    code = (
        "import json; from dataclasses import asdict; "
        "from scalelab.measure.probes.nvml import Nvml; "
        "print(json.dumps([Nvml.cuda_version(), [asdict(gpu) for gpu in Nvml.gpus()]]))"
    )
    for folder, kept in ((library, 1), (old_library, 0)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"LD_LIBRARY_PATH": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        version, gpus = json.loads(done.stdout)
        assert version == 12
        assert [gpu["uuid"] for gpu in gpus] == ["GPU-aaaa", "GPU-bbbb"]
        assert [gpu["name"] for gpu in gpus] == ["Stand-in 24", "Stand-in 12"]
        assert [gpu["capability"] for gpu in gpus] == [[8, 9], [8, 6]]
        assert [gpu["memory_bytes"] / 2**30 for gpu in gpus] == [24 - kept, 12 - kept]
        assert not any(gpu["is_sliced"] for gpu in gpus)
