"""What killed processes leave is removed by the next one, and nothing that another one writes."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scalelab.core.leftovers import remove_leftovers, temporary_folder
from scalelab.core.whole_file import whole_file
from scalelab.datasets.compact import new_folder
from scalelab.datasets.load import load
from scalelab.datasets.request import request

LONG_AGO = 1_000_000_000


def aged(path: Path) -> Path:
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def names(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def test_only_old_and_unlocked_ones_of_the_name_are_removed(tmp_path):
    (tmp_path / "work-dead").mkdir()
    (tmp_path / "work-dead" / "large.npy").write_bytes(b"1234")
    aged(tmp_path / "work-dead")
    aged_file = tmp_path / "work-file"
    aged_file.write_text("half")
    aged(aged_file)
    (tmp_path / "work-young").mkdir()
    (tmp_path / "other").mkdir()
    aged(tmp_path / "other")
    (tmp_path / "work-link").symlink_to(tmp_path / "other")
    with temporary_folder("work-", tmp_path) as held:
        (held / "a").write_text("b")
        aged(held)
        remove_leftovers(tmp_path, "work-")
        assert names(tmp_path) == sorted(["other", "work-link", "work-young", held.name])
    assert names(tmp_path) == ["other", "work-link", "work-young"]


def killed_while(tmp_path: Path, code: str) -> None:
    """Runs `code` in a process that kills itself at its end."""
    script = textwrap.dedent(code) + f"\nimport os; os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL


def converted(tmp_path: Path, item: int) -> list[int]:
    """Converts one interaction into `out`, and the items that `out` then has by their own ids."""
    from scalelab.datasets.convert import convert

    (tmp_path / "a.csv").write_text(f"user,item\n1,{item}\n")
    convert(request(tmp_path / "a.csv", None, {}), tmp_path / "out")
    return kept(tmp_path)


def kept(tmp_path: Path) -> list[int]:
    found = load(request(tmp_path / "out", None, {}).spec)
    assert found.find_original_ids is not None
    return found.find_original_ids().tolist()


def test_a_killed_conversion_leaves_the_old_data_and_the_next_one_cleans_up(tmp_path):
    assert converted(tmp_path, 5) == [5]
    killed_while(
        tmp_path,
        """
        from pathlib import Path
        from scalelab.datasets.compact import new_folder
        stack = new_folder(Path("out"))
        (stack.__enter__() / "item_ids.npy").write_bytes(bytes(1000))
        """,
    )
    [left] = [name for name in names(tmp_path) if name.startswith(".out")]
    assert kept(tmp_path) == [5]
    aged(tmp_path / left)
    assert converted(tmp_path, 6) == [6]
    assert names(tmp_path) == ["a.csv", "out"]


def test_data_that_were_being_replaced_come_back(tmp_path):
    converted(tmp_path, 5)
    # So it is between the two moments in which the old folder goes and the new one comes.
    (tmp_path / "out").rename(tmp_path / ".out-old-1")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out"):
        raise RuntimeError("the next try fails as well")
    assert kept(tmp_path) == [5]
    assert names(tmp_path) == ["a.csv", "out"]


def test_data_sets_whose_names_begin_alike_are_not_mixed_up(tmp_path):
    """Between its two renames the old data of `out-old-b` and its new ones lie beside `out`."""
    converted(tmp_path, 5)
    for name in (".out-old-b-old-1", ".out-new-b-old-1", ".out-old-b-new-1"):
        shutil.copytree(tmp_path / "out", tmp_path / name)
        aged(tmp_path / name)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out"):
        raise RuntimeError("nothing was written")
    beside = [".out-new-b-old-1", ".out-old-b-new-1", ".out-old-b-old-1"]
    assert names(tmp_path) == [*beside, "a.csv"]


def test_what_cannot_be_removed_stops_nothing(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    with whole_file(page) as partial:
        left = tmp_path / partial.name.replace(".part", "0.part")
        left.write_text("somebody else's")
        partial.write_text("old")
    aged(left)
    unlink = Path.unlink

    def refused(path, missing_ok=False):
        if path == left:
            raise PermissionError(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with whole_file(page) as partial:
        partial.write_text("new")
    assert page.read_text() == "new"
    assert left.exists()


def test_a_file_that_was_half_written_is_removed_with_the_next(tmp_path):
    page = tmp_path / "page.html"
    killed_while(
        tmp_path,
        """
        from pathlib import Path
        from scalelab.core.whole_file import whole_file
        whole_file(Path("page.html")).__enter__().write_text("half")
        """,
    )
    [left] = names(tmp_path)
    aged(tmp_path / left)
    (tmp_path / "other.part").write_text("not ours")
    aged(tmp_path / "other.part")
    with whole_file(page) as partial:
        partial.write_text("whole")
    assert names(tmp_path) == ["other.part", "page.html"]
    assert page.read_text() == "whole"
