from pathlib import Path

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.presets import find_preset, preset_names
from scalelab.core.units import GIB
from scalelab.planning import calibrate as calibration
from scalelab.planning.devices import load_device, this_machine

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
    assert profile.flops["bf16"] >= profile.flops["fp32"] > 0
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
