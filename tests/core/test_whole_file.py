"""Whatever ends while a file is written, what was there before is still there, whole."""

import errno
import os
import stat
from pathlib import Path

import pyarrow as pa
import pytest

from scalelab.core.arguments import write_text
from scalelab.core.errors import ScalelabError
from scalelab.core.whole_file import whole_file
from scalelab.result_tables.rows import save


def test_the_new_file_takes_the_place_of_the_old(tmp_path):
    file = tmp_path / ("n" * 255)
    for text in ("old", "new"):
        with whole_file(file) as partial:
            partial.write_text(text)
            assert not file.exists() or file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    with whole_file(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_rights_stay_as_they_were(tmp_path):
    file = tmp_path / "mine"
    file.write_text("old")
    file.chmod(0o600)
    with whole_file(file) as partial:
        partial.write_text("new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_protected_file_is_not_replaced(tmp_path, monkeypatch):
    """Although the folder could be written, in which it is only a name. (root may write all.)"""
    file = tmp_path / "protected"
    file.write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(ScalelabError, match=r"cannot write .*: Permission denied"):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_not_a_file_is_written_to():
    with whole_file(Path("/dev/null")) as partial:
        assert partial == Path("/dev/null")
    assert Path("/dev/null").is_char_device()


WRITERS = {
    "table.md": lambda file: write_text(file, "new table"),
    "rows.csv": lambda file: save(pa.table({"a": [1, 2, 3]}), None, file),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, name):
    file = tmp_path / name
    file.write_text("old")
    opened = Path.open

    class Full:
        """Takes some of it, as a disk that fills."""

        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:2])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda self, *a, **k: Full(opened(self, *a, **k)))
        with pytest.raises(ScalelabError, match=r"cannot write .*: No space left on device"):
            WRITERS[name](file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
