"""Parts of packages, modules and files: found, refused with whose matter it is, never imported."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra, SpecError
from scalelab.core.loading import import_part
from scalelab.core.locating import absolute, available, locate, short
from scalelab.core.parts import list_kind
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec
from scalelab.studies.grid import expand

LOSS = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Mine:
    """A loss of mine."""

    scale: float = 2.0
    needs_negatives: ClassVar[bool] = False

    def __post_init__(self):
        if self.scale < 0:
            raise ValueError("scale must not be below 0")

    def __call__(self, hidden_ND, item_table_VD, batch):
        return hidden_ND.sum() * self.scale
'''


def install(site: Path, package: str, points: str, source: str = LOSS) -> None:
    """A distribution as pip leaves it."""
    module = package.replace("-", "_")
    (site / f"{module}.py").write_text(source)
    facts = site / f"{module}-1.5.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    (facts / "RECORD").write_text(f"{module}.py,,\n")
    (facts / "entry_points.txt").write_text(f"[scalelab.losses]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def refused(name: str, kind: type[Exception] = SpecError, **options: object) -> str:
    """One line about a loss that cannot be used, with its hint."""
    keys = {f"loss.{key}": value for key, value in options.items()}
    with pytest.raises(kind) as caught:
        RunSpec.load("sasrec-synthetic", {"loss.name": name, "device.name": "cpu"} | keys)
    assert "\n" not in str(caught.value)
    return f"{caught.value}; {caught.value.hint}"


@pytest.mark.slow
def test_an_installed_part_is_named_like_one_of_the_tree(site: Path) -> None:
    install(site, "parts-one", "mine_one = parts_one:Mine")
    assert "mine_one" in available("losses")
    assert "parts_one" not in sys.modules  # found by its metadata
    (part,) = (part for part in list_kind("losses") if part.name == "mine_one")
    assert (part.summary, part.origin) == ("A loss of mine.", "parts-one 1.5")
    assert [option.name for option in part.options] == ["scale"]
    spec = RunSpec.load("sasrec-synthetic", {"loss.name": "mine_one", "device.name": "cpu"})
    assert spec.loss.options == {"scale": 2.0}
    assert set(spec.sources) == {"loss"}
    assert RunSpec.build(spec.as_sections()) == spec
    by_module = RunSpec.load("sasrec-synthetic", {"loss.name": "parts_one:Mine"})
    assert by_module.sources == spec.sources
    assert str(locate("losses", "parts_one:Mine").origin) == "parts-one 1.5"


def test_a_name_of_two_packages_is_refused_with_both(site: Path) -> None:
    install(site, "parts-a", "same = parts_a:Mine")
    install(site, "parts-b", "same = parts_b:Mine")
    line = refused("same")
    assert "parts-a 1.5" in line
    assert "parts-b 1.5" in line
    listed = next(part for part in list_kind("losses") if part.name == "same")
    assert "parts-a 1.5" in listed.summary


def test_a_name_of_the_tree_is_refused_with_its_package(site: Path) -> None:
    install(site, "parts-c", "gbce = parts_c:Mine")
    line = refused("gbce")
    assert "scalelab and by parts-c 1.5" in line
    assert "parts_c:Mine" in line


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_thing\n", "needs the module 'no_such_thing'"),
        ("x = 1\n1 / 0\n", "ZeroDivisionError: division by zero (broken1.py, line 2)"),
        ("class Mine(:\n", "not valid Python"),
        ("Other = 1\n", "no class 'Mine'"),
        ("class Mine:\n    needs_negatives = False\n", "lacks '__call__'"),
        (LOSS.replace("    needs_negatives", "    others"), "lacks 'needs_negatives'"),
        (LOSS.replace("float = 2.0", "object = object()"), "no TOML file can hold the default"),
        (LOSS.replace("scale: float = 2.0", "scale: float"), "cannot be made"),
    ],
)
def test_a_broken_part_is_the_matter_of_its_author(
    site: Path, source: str, words: str, request: pytest.FixtureRequest
) -> None:
    package = f"broken{request.node.callspec.indices['source']}"  # a process imports one but once
    install(site, package, f"mine_d = {package}:Mine", source)
    line = refused("mine_d", MissingExtra if "no_such" in source else SpecError)
    assert words in line
    assert f"{package} 1.5" in line


def test_an_entry_point_without_its_module_says_so(site: Path) -> None:
    install(site, "parts-e", "mine_e = parts_nothing:Mine")
    assert "parts_nothing:Mine" in refused("mine_e")
    listed = next(part for part in list_kind("losses") if part.name == "mine_e")
    assert listed.summary.startswith("Cannot be used")


def test_a_path_starts_at_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "loss.py").write_text(LOSS)
    (tmp_path / "deep" / "run.toml").write_text(
        '[data]\nreader = "synthetic"\n[loss]\nname = "./loss.py:Mine"\n'
    )
    (tmp_path / "deep" / "cells.toml").write_text(
        'base = "sasrec-synthetic"\n[axes]\n"loss.name" = ["bce", "./loss.py:Mine"]\n'
    )
    wanted = f"{tmp_path / 'deep' / 'loss.py'}:Mine"
    monkeypatch.chdir(tmp_path)
    assert RunSpec.load("deep/run.toml").loss.name == wanted
    cells = expand(StudySpec.load("deep/cells.toml"))
    assert [cell.spec.loss.name for cell in cells] == ["bce", wanted]
    assert [cell.label for cell in cells] == ["bce", "loss.py:Mine"]
    monkeypatch.chdir(tmp_path / "deep")
    assert RunSpec.load("sasrec-synthetic", {"loss.name": "./loss.py:Mine"}).loss.name == wanted
    assert "no file" in refused("./elsewhere.py:Mine")
    assert "scale must not be below 0" in refused("./loss.py:Mine", scale=-1.0)


def test_absolute_changes_nothing_but_files_of_parts(tmp_path: Path) -> None:
    same = {"a": ["x.csv", 3, None], "b": {"c": "my.module:Class", "d": "./notes.py"}}
    assert absolute(same, tmp_path) == same
    assert absolute({"a": ["./x.py:C"]}, tmp_path) == {"a": [f"{tmp_path / 'x.py'}:C"]}
    assert short(f"{tmp_path / 'x.py'}:C") == "x.py:C"


def test_an_edited_file_is_loaded_afresh_and_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "loss.py"
    file.write_text("from near import K\n" + LOSS.replace("* self.scale", "* K"))
    near = tmp_path / "near.py"
    near.write_text("K = 1\n")
    name = f"{file}:Mine"

    def now() -> tuple[str, object]:
        spec = RunSpec.load("sasrec-synthetic", {"loss.name": name, "device.name": "cpu"})
        loss = plugins.load("losses", name)
        return spec.fingerprint("d"), loss.__call__.__globals__["K"]

    first = now()
    stamp = near.stat()
    near.write_text("K = 2\n")  # as long as before, and as old
    os.utime(near, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    second = now()
    assert (first[1], second[1]) == (1, 2)
    assert first[0] != second[0]
    near.write_text("K = 1  # one\n")
    assert now() == first
    assert "near" not in sys.modules


def test_a_moved_file_is_the_same_run(tmp_path: Path) -> None:
    prints = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "loss.py").write_text(LOSS)
        name = f"{tmp_path / folder / 'loss.py'}:Mine"
        spec = RunSpec.load("sasrec-synthetic", {"loss.name": name, "device.name": "cpu"})
        prints.add(spec.fingerprint("d"))
    assert len(prints) == 1


def test_a_file_of_the_tree_without_all_is_told_which_line_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As whoever follows the README by half: the class is written, its name is not exported."""
    import scalelab.losses

    (tmp_path / "half_done.py").write_text(LOSS)
    monkeypatch.setattr(scalelab.losses, "__path__", [*scalelab.losses.__path__, str(tmp_path)])
    place = replace(
        locate("losses", "bce"),
        name="half_done",
        module="scalelab.losses.half_done",
        file=tmp_path / "half_done.py",
    )
    with pytest.raises(SpecError) as caught:
        import_part(place)
    assert str(caught.value) == f"{place.file} must name its one class in __all__"
    assert caught.value.hint == 'add the line __all__ = ["Mine"]'


@pytest.mark.parametrize("name", ["mypkg.focal", "mypkg/focal.py", "./focal.py"])
def test_a_part_named_without_its_class_is_told_how_to_name_it(name: str) -> None:
    assert refused(name).endswith("write ./file.py:Class or package.module:Class")
