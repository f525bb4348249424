from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab.measure import checks


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
    for check in checks.checks():
        assert check.state == "ok" or check.mend, check


def test_a_library_that_breaks_on_import_is_a_finding_not_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise OSError(f"{name}: wrong ELF class\nsecond line")

    monkeypatch.setattr(checks.importlib, "import_module", broken)
    found = {check.name: check for check in checks.checks()}
    assert found["duckdb"].state == "bad"
    assert found["duckdb"].detail == "OSError: duckdb: wrong ELF class second line"
    assert found["duckdb"].mend == "pip install duckdb"


def test_a_data_folder_that_is_not_there_is_bad(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCALELAB_DATA", str(tmp_path / "nowhere"))
    assert checks.checks()[-1].state == "bad"
    monkeypatch.setenv("SCALELAB_DATA", str(tmp_path))
    assert checks.checks()[-1].state == "ok"


def test_it_reads_as_a_table(scalelab: Callable) -> None:
    done = scalelab("doctor")
    assert done.code in (0, 1)
    for word in ("torch", "cuda", "duckdb", "state", "mend"):
        assert word in done.out
