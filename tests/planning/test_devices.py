import subprocess
from pathlib import Path
from typing import Any

import pytest

from scalelab.core.errors import ScalelabError, SpecError
from scalelab.core.presets import find_preset, preset_names
from scalelab.core.units import GIB, MIB
from scalelab.measure.gpus import Gpu
from scalelab.planning import calibrate as calibration
from scalelab.planning import devices, footprint
from scalelab.planning.devices import load_device, this_machine
from scalelab.planning.footprint import Footprint, measure_footprint

WANTED = {
    "cpu": 16, "rtx3060": 12, "rtx3090": 24, "rtx4090": 24, "rtx5090": 32, "t4": 16, "l4": 24,
    "a10": 24, "v100-16": 16, "v100-32": 32, "a100-40": 40, "a100-80": 80, "h100": 80, "h200": 141,
    "b200": 180,
}  # fmt: skip


def test_there_are_profiles_of_what_people_own() -> None:
    assert set(preset_names("devices")) >= WANTED.keys()


@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_profile_is_plausible_and_names_its_sources(name: str) -> None:
    profile = load_device(name)
    # What the driver shows is a little less than the nominal size (counted in 10^9 or in 2^30).
    assert 0.93 * 1e9 * WANTED[name] <= profile.memory_bytes <= 1.01 * GIB * WANTED[name]
    assert profile.flops["bf16"] >= profile.flops["tf32"] >= profile.flops["fp32"] > 0
    assert (profile.capability >= (7, 0)) is (profile.kind == "cuda")
    assert profile.cublas_bytes is None
    assert profile.bytes_per_s >= 1e10
    lines = find_preset("devices", name).read_text().splitlines()
    for index, line in enumerate(lines):
        if line.startswith(("memory", "bandwidth_gb_s", "[tflops]", "[estimates]", "[cublas]")):
            assert lines[index - 1].startswith("#"), f"{line!r} has no source"


def test_a_wrong_name_is_met_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="rtx309") as caught:
        load_device("rtx309")
    assert "rtx3090" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('memory = "24576MiB"', 'memory = "much"'), "memory"),
        (('memory = "24576MiB"', 'memory = "3"'), "memory"),
        (("bandwidth_gb_s = 936", "bandwidth_gb_s = -1"), "bandwidth_gb_s"),
        (("bandwidth_gb_s", "bandwith_gb_s"), "bandwidth_gb_s"),
        (("[0.35, 0.9]", "[0.9, 0.35]"), "efficiency"),
        (('kind = "cuda"', 'kind = "tpu"'), "kind"),
    ],
)
def test_a_broken_profile_is_one_clear_line(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    text = find_preset("devices", "rtx3090").read_text()
    assert change[0] in text
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(*change))
    with pytest.raises(SpecError, match=message) as caught:
        load_device(file)
    assert "\n" not in str(caught.value)


# What nvidia-smi calls them, what CUDA offers of them, and whose speeds they have.
CARDS = [
    ("NVIDIA H100 80GB HBM3", 81009, (9, 0), "h100", True),
    ("NVIDIA H100 PCIe", 81009, (9, 0), "h100", False),
    ("NVIDIA H200", 143156, (9, 0), "h200", True),
    ("NVIDIA A100-SXM4-40GB", 40441, (8, 0), "a100-40", True),
    ("NVIDIA A100-SXM4-80GB", 81153, (8, 0), "a100-80", True),
    ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4864, (8, 0), "a100-40", False),
    ("NVIDIA A10", 22518, (8, 6), "a10", True),
    ("NVIDIA A10G", 22518, (8, 6), "a10", False),
    ("Tesla T4", 15104, (7, 5), "t4", True),
    ("Tesla V100-SXM2-16GB", 16160, (7, 0), "v100-16", True),
    ("NVIDIA L4", 22600, (8, 9), "l4", True),
    ("NVIDIA L40S", 45500, (8, 9), "rtx4090", False),
    ("NVIDIA GeForce RTX 3060", 11900, (8, 6), "rtx3060", True),
    ("NVIDIA GeForce RTX 3060", 7900, (8, 6), "rtx3060", False),
    ("NVIDIA GeForce RTX 4090", 24080, (8, 9), "rtx4090", True),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 16000, (8, 9), "l4", False),
    ("NVIDIA GeForce RTX 5090", 32100, (12, 0), "rtx5090", True),
    ("NVIDIA B200", 182500, (10, 0), "b200", True),
]


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """The GPUs of this machine, which was never calibrated."""
    there: list[Gpu] = []
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(devices, "visible_gpus", lambda: tuple(there))
    return there


@pytest.mark.parametrize(("name", "mib", "capability", "near", "is_it"), CARDS)
def test_this_machines_gpu_has_the_profile_of_its_name_and_capability(
    name: str, mib: int, capability: tuple[int, int], near: str, is_it: bool, gpus: list[Gpu]
) -> None:
    gpus.append(Gpu(uuid="GPU-a", name=name, memory_bytes=mib * MIB, capability=capability))
    machine, shipped = this_machine(), load_device(near)
    assert (machine.flops, machine.bytes_per_s) == (shipped.flops, shipped.bytes_per_s)
    assert (machine.memory_bytes, machine.capability) == (mib * MIB, capability)
    assert machine.name == (name if is_it else f"{name} (speeds of {shipped.name})")


def test_each_device_of_a_machine_can_be_asked_for(gpus: list[Gpu]) -> None:
    assert this_machine().kind == "cpu"
    with pytest.raises(SpecError, match="no CUDA GPU found for 'cuda'"):
        this_machine("cuda")
    gpus += [
        Gpu(uuid="GPU-a", name="NVIDIA L4", memory_bytes=22600 * MIB, capability=(8, 9)),
        Gpu(uuid="GPU-b", name="Tesla T4", memory_bytes=15104 * MIB, capability=(7, 5)),
    ]
    names = {device: this_machine(device).name for device in (None, "cuda", "cuda:1", "cpu")}
    assert names == {
        None: "NVIDIA L4", "cuda": "NVIDIA L4", "cuda:1": "Tesla T4", "cpu": "this machine"
    }  # fmt: skip
    with pytest.raises(SpecError, match="'cuda:2'"):
        this_machine("cuda:2")


def test_calibrated_figures_are_of_one_kind_of_gpu(gpus: list[Gpu]) -> None:
    file = devices.calibrated_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    text = find_preset("devices", "l4").read_text()
    text = text.replace('name = "L4 24 GB"', 'name = "NVIDIA L4"').replace("= 300", "= 271")
    file.write_text(text + '[cublas]\nworkspace = "8519680"\n')
    gpus.append(Gpu(uuid="GPU-a", name="NVIDIA L4", memory_bytes=22600 * MIB, capability=(8, 9)))
    assert this_machine().bytes_per_s == 271e9
    assert this_machine().cublas_bytes == 8519680
    assert this_machine("cpu").kind == "cpu"
    gpus[0] = Gpu(uuid="GPU-a", name="Tesla T4", memory_bytes=15104 * MIB, capability=(7, 5))
    assert this_machine().bytes_per_s == 320e9


def test_calibration_writes_a_profile_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    # Only that it is written and read again; the figures are for the machine to find.
    monkeypatch.setattr(calibration, "_seconds", lambda work, device: 0.01)
    path = calibration.calibrate()
    assert path.is_relative_to(tmp_path)
    written = load_device(path)
    machine = this_machine()
    assert machine.flops == written.flops
    assert machine.bytes_per_s == written.bytes_per_s


def test_a_calibrated_gpu_has_its_measured_context_and_workspace(
    gpus: list[Gpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.append(Gpu(uuid="GPU-a", name="Tesla T4", memory_bytes=15104 * MIB, capability=(7, 5)))

    def refused(uuid: str) -> Footprint:
        raise ScalelabError("the context of GPU-a cannot be measured: NVML does not answer")

    monkeypatch.setattr(calibration, "measure_footprint", refused)
    assert "# An estimate: the context of GPU-a cannot" in calibration._costs("GPU-a")
    assert 'context = "314572800B"' in calibration._costs("GPU-a")  # the T4's 300 MiB
    told = Footprint(context=500 * MIB, workspace=8 * MIB)
    monkeypatch.setattr(calibration, "measure_footprint", lambda uuid: told)
    file = devices.calibrated_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    start = find_preset("devices", "t4").read_text().partition("\n# Estimates")[0]
    file.write_text(start.replace("Tesla T4 16 GB", "Tesla T4") + calibration._costs("GPU-a"))
    machine = this_machine()
    assert (machine.context_bytes, machine.cublas_bytes) == (500 * MIB, 8 * MIB)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('ValueError: no such GPU')", "ValueError: no such GPU"),
        ('print(\'{"context": -5, "workspace": 0}\')', "another process has freed memory"),
    ],
)
def test_a_context_that_cannot_be_measured_is_one_line(
    code: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run

    def instead(command: list[str], **options: Any) -> Any:
        assert options["env"]["CUDA_VISIBLE_DEVICES"] == command[-1] == "GPU-a"
        return run([*command[:2], code], **options)

    monkeypatch.setattr(footprint.subprocess, "run", instead)
    with pytest.raises(ScalelabError, match=message):
        measure_footprint("GPU-a")
