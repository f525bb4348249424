"""Temporary files lie in a folder that other users can neither read nor write."""

import os
import stat
import tempfile

import pytest

from scalelab.core.private_folder import private_folder


@pytest.fixture
def usual(tmp_path, monkeypatch):
    """The folder of the usual name, in an empty folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"scalelab-{os.getuid()}"


def test_the_folder_is_kept_for_its_user_alone(usual):
    assert private_folder() == private_folder() == usual
    assert stat.S_IMODE(usual.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o702])
def test_one_that_others_can_read_or_write_is_not_used(usual, mode):
    usual.mkdir()
    usual.chmod(mode)
    found = private_folder()
    assert found != usual
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_a_link_to_another_place_is_not_followed(usual, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    usual.symlink_to(tmp_path / "elsewhere")
    assert private_folder() not in (usual, tmp_path / "elsewhere")
