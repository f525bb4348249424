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


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library that answers as NVML does."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml_stand_in.c")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(target)], check=True)
    return folder


def _read(library: Path, uuid: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", READ, uuid],
        env=os.environ | {"LD_LIBRARY_PATH": str(library)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_it_reads_what_the_driver_says(library: Path) -> None:
    found = _read(library, "GPU-11112222-3333-4444-5555-666677778888")
    values: dict[str, list[Any]] = {}
    for name, value, _ in found["samples"]:
        values.setdefault(name, []).append(value)
    assert set(values["device_used"]) == {3 * 2**30}
    assert set(values["utilisation"]) == {87}
    assert set(values["power"]) == {251.5}
    assert set(values["throttled"]) == {1.0}
    assert set(values["sm_clock"]) == {None}
    assert values["energy_epoch"] == [2.0, 2.0]
    assert values["energy_run"] == [6.0]
    assert found["memory"] == [["device_used", 3 * 2**30, None]]


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


def test_the_smallest_gpu_counts(library: Path) -> None:
    code = "from scalelab.measure.probes.nvml import Nvml; print(Nvml.smallest_gpu_bytes())"
    for folder, expected in ((library, str(12 * 2**30)), (library / "none", "None")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"LD_LIBRARY_PATH": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [expected]
