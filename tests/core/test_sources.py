"""The digest of a part's source: what counts, what does not, and which files belong to it."""

from pathlib import Path

import pytest

from scalelab.core import sources
from scalelab.core.errors import SpecError
from scalelab.core.locating import locate

PLAIN = "import math\n\n\ndef f(x):\n    return math.sqrt(x) + 1\n"


def digest(text: str) -> str:
    return sources.normalised(text.encode())


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\n" + PLAIN,
        '"""A docstring."""\n' + PLAIN,
        PLAIN.replace("    return", '    """Doc."""\n    # why\n    return'),
        PLAIN.replace("math.sqrt(x) + 1", "(math.sqrt( x )\n            + 1)"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(same: str) -> None:
    assert digest(same) == digest(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("+ 1", "+ 2"),
        PLAIN.replace("+ 1", "+ 1.0"),
        PLAIN.replace("+ 1", "- 1"),
        PLAIN.replace("sqrt", "exp"),
        PLAIN.replace("(x):", "(x, y=1):"),
        PLAIN.replace("+ 1", '+ len("a")'),
    ],
)
def test_code_counts(other: str) -> None:
    assert digest(other) != digest(PLAIN)


def test_the_same_under_every_version_of_python() -> None:
    """A digest that was computed once, under 3.11: stored fingerprints depend on it."""
    text = 'def f(x, *a, k=1, **b):\n    return f"{x!r:>{k}}" + "a"\n'
    assert digest(text) == "edab3acd8e44690c"


def part(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return sources.digest(locate("losses", f"{folder / 'mine.py'}:Mine"))


def test_helpers_beside_a_file_count_and_their_helpers_too(tmp_path: Path) -> None:
    files = {
        "mine": "from first import f\nimport torch\n",
        "first": "def f():\n    import second\n    return second.g\n",
        "second": "g = 1\n",
        "other": "h = 1\n",
    }
    before = part(tmp_path, **files)
    assert part(tmp_path, other="h = 2\n") == before
    assert part(tmp_path, second="g = 1  # one\n") == before
    after = part(tmp_path, second="g = 2\n")
    assert after != before
    assert part(tmp_path, second="g = 1\n") == before


def test_helpers_of_a_package_count_wherever_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "stranger_package"
    (package / "deep").mkdir(parents=True)
    texts = {
        "__init__.py": "",
        "mine.py": "from .deep import inner\nfrom stranger_package import near\n",
        "near.py": "a = 1\n",
        "far.py": "b = 1\n",
        "deep/__init__.py": "",
        "deep/inner.py": "from ..near import a\n",
    }
    for name, text in texts.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    place = locate("losses", "stranger_package.mine:Mine")
    assert set(sources.files(place)) == {
        "stranger_package",
        "stranger_package.mine",
        "stranger_package.near",
        "stranger_package.deep",
        "stranger_package.deep.inner",
    }
    before = sources.digest(place)
    (package / "far.py").write_text("b = 2\n")
    assert sources.digest(place) == before
    (package / "deep" / "inner.py").write_text("from ..near import a as c\n")
    assert sources.digest(place) != before


def test_the_helpers_of_a_part_of_the_tree_are_found() -> None:
    files = sources.files(locate("losses", "gbce"))
    assert {"scalelab.losses.gbce", "scalelab.losses._sampled"} <= set(files)
    assert all(name.startswith("scalelab.losses.") for name in files)


def test_a_source_that_is_not_python_is_the_matter_of_its_author(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"not valid Python.*line 2"):
        part(tmp_path, mine="x = 1\nclass Mine(:\n")
