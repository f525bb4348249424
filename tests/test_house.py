"""The rules of the house that linters do not know: doors, peers, names, length, torch."""

import ast
import importlib
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import scalelab

PACKAGE = Path(scalelab.__file__).parent
FILES = sorted(str(path.relative_to(PACKAGE).as_posix()) for path in PACKAGE.rglob("*.py"))
LONGEST = 300

DOORS = {
    "altair": ("reporting/",),
    "cut_cross_entropy": ("losses/cut_ce.py",),
    "duckdb": ("store/", "datasets/readers/"),
    "jinja2": ("reporting/page.py", "result_tables/rendering.py"),
    "liger_kernel": ("losses/liger_ce.py",),
    "numba": ("batches/", "datasets/", "dataset_facts/", "synthetic/", "train/baseline_kernels.py"),
    "optuna": ("studies/search.py",),
    "psutil": ("workers/",),
    # It unpacks gzip and zstd block by block, and tells what DuckDB hides of a parquet file.
    "pyarrow": (
        *("store/", "reporting/", "result_tables/", "notebook/rows.py"),
        "datasets/readers/_sizes.py",
        "datasets/readers/_parquet.py",
    ),
    "pynvml": ("measure/probes/nvml.py",),
    "ray": ("workers/executors/cluster.py",),
    "rich": ("cli/",),
    "tomli_w": ("store/migrations.py", "studies/"),
    "pytest": ("testing/",),
    "tqdm": ("notebook/progress.py",),
    "torch": (
        *("any_model/", "batches/", "models/", "losses/", "train/", "measure/", "planning/"),
        "testing/",
        "diagnostics.py",
    ),
    "triton": ("losses/",),
    "typer": ("cli/",),
}
# The halves: reading results must not need torch, and torch code must not know the ledger.
PLUGIN_FOLDERS = (
    "batches/negatives",
    "batches/packers",
    "datasets/readers",
    "losses",
    "measure/probes",
    "models",
    "reporting/charts",
    "workers/executors",
)
PLUGINS = [
    file
    for file in FILES
    if file.rpartition("/")[0] in PLUGIN_FOLDERS and not Path(file).name.startswith("_")
]
VERBS = (
    "new",
    "account",
    "advise",
    "answer",
    "compare",
    "data",
    "doctor",
    "estimate",
    "keys",
    "list",
    "plan",
    "profile",
    "query",
    "recommend",
    "report",
    "schema",
    "sweep",
    "table",
)


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def imports(file: str) -> set[str]:
    """Every module that the file imports anywhere, but not for its types alone."""
    found: set[str] = set()
    for node in ast.walk(_without_type_checking(tree(file))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by a relative path"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def _without_type_checking(module: ast.Module) -> ast.Module:
    body = [
        node
        for node in module.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return ast.Module(body=body, type_ignores=[])


def exported(file: str) -> list[str]:
    for node in tree(file).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    pytest.fail(f"{file} has no __all__")


def for_each(files: list[str]) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """Make one test of a check of one file; it names every file that breaks the rule.

    A test for each of 300 files costs more to collect and report than to run.
    """

    def test_of(check: Callable[[str], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for file in files:
                try:
                    check(file)
                except (AssertionError, pytest.fail.Exception) as error:
                    broken.append(f"{file}: {error}")
            assert not broken, "\n".join(broken)

        test.__name__ = check.__name__
        return test

    return test_of


@for_each(FILES)
def test_libraries_enter_by_their_door(file: str) -> None:
    for library in {name.partition(".")[0] for name in imports(file)} & DOORS.keys():
        assert file.startswith(DOORS[library]), f"{library} does not belong in {file}"


@for_each(FILES)
def test_files_stay_short_enough_to_read(file: str) -> None:
    lines = len((PACKAGE / file).read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{file} has {lines} lines; it has more than one reason to change"


@for_each(FILES)
def test_a_module_opens_with_its_promise_in_ascii(file: str) -> None:
    text = (PACKAGE / file).read_text(encoding="utf-8")
    assert text.isascii()
    promise = ast.get_docstring(tree(file)) or ""
    assert len(promise.partition("\n")[0]) >= 20, f"{file} does not say what it is for"


@for_each([f for f in FILES if not f.endswith(("__init__.py", "__main__.py"))])
def test_what_a_module_offers_exists(file: str) -> None:
    defined = {
        name
        for node in tree(file).body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else [ast.unparse(t) for t in node.targets]
            if isinstance(node, ast.Assign)
            else [ast.unparse(node.target)]
            if isinstance(node, ast.AnnAssign)
            else [(alias.asname or alias.name) for alias in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert set(exported(file)) <= defined


@for_each(PLUGINS)
def test_a_plugin_exports_one_name_and_knows_no_peer(file: str) -> None:
    assert len(exported(file)) == 1
    folder, _, name = file.rpartition("/")
    package = "scalelab." + folder.replace("/", ".")
    peers = {f"{package}.{Path(p).stem}" for p in PLUGINS if p.rpartition("/")[0] == folder}
    known = peers & imports(file) - {f"{package}.{Path(name).stem}"}
    assert not known, f"{file} imports its peers {sorted(known)}"


def test_no_file_is_named_after_a_library_nor_a_package_after_a_verb() -> None:
    libraries = set(DOORS) | {"numpy", "pydantic", "safetensors"}
    assert not [file for file in FILES if Path(file).stem in libraries]
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert not packages & set(VERBS)


@for_each(FILES)
def test_no_exception_is_swallowed(file: str) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ExceptHandler):
            is_broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            does_nothing = all(isinstance(inner, ast.Pass) for inner in node.body)
            assert not (is_broad and does_nothing), f"{file}:{node.lineno}"


@for_each([file for file in FILES if "numba" in imports(file)])
def test_no_compiled_function_sorts_by_unique(file: str) -> None:
    """numba compiles np.unique for one to three seconds, np.sort for a fifth of that."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef) and "njit" in ast.unparse(node).partition("def ")[0]:
            assert "np.unique" not in ast.unparse(node), f"{file}: {node.name}"


@for_each(FILES)
def test_nothing_is_left_for_later(file: str) -> None:
    text = (PACKAGE / file).read_text(encoding="utf-8")
    for sign in ("TODO", "FIXME", "NotImplementedError", "breakpoint("):
        assert sign not in text, f"{sign} in {file}"


CHARTS = [f"scalelab.{f[:-3].replace('/', '.')}" for f in PLUGINS if "reporting/charts/" in f]


@pytest.mark.parametrize(
    "modules",
    [
        ["scalelab"],
        ["scalelab.cli"],
        ["scalelab.store.ledger"],
        ["scalelab.reporting.page", *CHARTS],
    ],
    ids=["package", "cli", "ledger", "reporting"],
)
def test_reading_results_needs_no_torch(modules: list[str]) -> None:
    check = f"import {', '.join(modules)}, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_importing_the_package_does_no_work(tmp_path: Path) -> None:
    """No device is asked, nothing printed, no thread started, no folder made."""
    check = (
        "import threading, scalelab, scalelab.cli; assert threading.active_count() == 1; "
        "import sys; assert 'rich' not in sys.modules or 'rich.live' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert not list(tmp_path.iterdir())


def test_every_verb_is_offered_by_the_package() -> None:
    for verb in VERBS:
        assert hasattr(scalelab, verb), verb
    assert set(scalelab.__all__) <= set(dir(scalelab))
    assert "list" not in scalelab.__all__  # a star import must not hide the builtin
    assert importlib.import_module("scalelab").list is scalelab.list_parts


# Words that readers stumbled over, and the word of the field that took their place.
GONE = {
    "mend|mends|mended": "fix",
    "(?<!Pareto )fronts?": "Pareto front",
    "rivals?": "external implementation",
    "shelf|shelves": "ChartData",
    "told|tells|said|hears?|heard|deaf|obeys?": "printed, sent, notified, handled",
    "asked|asks": "requested, options, calls",
    "forms?(?! a )": "format, reduction",
    "foresee|foreseen|rehearsals?|unpredictable": "predict, FakeTensorRun, PredictionUnsupported",
    "heirs?|hopeless|parcels?|slopes": "see the glossary",
    "life|lives|born|died|dies|dying": "lifetime, runs, ended, failed",
    "rooms?|labs?": "space, package",
    "cells?": "configuration, run",
    "(?<!here )is no (?!better|fewer|less|likelier|longer|more|slower|faster|worse)": "is not a",
}
ROOT = PACKAGE.parent
PLAIN_DOCUMENTS = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *sorted(
        str(path.relative_to(ROOT).as_posix())
        for folder in ("studies", "profiles")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".md", ".toml")
    ),
]
# Where such a word is right: the name of a key, of a JSON field, or of a part of a table.
RIGHT = {
    "cell": ("cli/output.py", "reporting/sections.py"),
    "cells": (
        *("cli/output.py", "cli/results.py", "core/json_schema.py", "core/renamed.py"),
        *("core/ranges.py", "core/study.py", "core/study_shapes.py", "findings/command.py"),
        "studies/search.py",
    ),
    "form": ("core/renamed.py",),
    "life": ("batches/negatives/recent.py",),  # half-life, the word of physics for it
}


def gone_words(text: str) -> list[str]:
    """Each word of `text` that is to go, as it is written there."""
    pattern = rf"(?<![\w.])(?:{'|'.join(GONE)})\b"
    return [found[0].strip() for found in re.finditer(pattern, text, flags=re.IGNORECASE)]


def texts(file: str) -> list[tuple[int, str]]:
    """The comments and strings of a module, with their lines: what a person reads."""
    source = (PACKAGE / file).read_text(encoding="utf-8")
    kinds = (tokenize.COMMENT, tokenize.STRING)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = [(token.start[0], token.string) for token in tokens if token.type in kinds]
    # What stands in the braces of an f-string is code.
    return [
        (line, re.sub(r"\{[^{}]*\}", "{}", text).replace("[[cells]]", "")) for line, text in found
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the front of quality", ["front"]),
        ("the Pareto front", []),
        ("on_memory_front", []),
        ("Mend it, rival", ["Mend", "rival"]),
        ("5 cells", ["cells"]),
        ("'x' is no size", ["is no"]),
        ("there is no GPU", []),
        ("formed, reforms", []),
        ("no room, as asked", ["room", "asked"]),
        ("said and told", ["said", "told"]),
    ],
)
def test_words_that_are_to_go_are_found(text: str, found: list[str]) -> None:
    assert gone_words(text) == found


@for_each(FILES)
def test_words_that_are_gone_do_not_come_back(file: str) -> None:
    for line, text in texts(file):
        wrong = [word for word in gone_words(text) if file not in RIGHT.get(word.lower(), ())]
        assert not wrong, f"{file}:{line} says {wrong}; see GONE"


# Words that are to go from names too; "died" stays, as in Ray's ActorDiedError.
GONE_NAMES = {
    *("asked", "asks", "born", "deaf", "foreseen", "heard", "hears", "heir", "hopeless", "lab"),
    *("life", "mend", "parcel", "rehearsal", "rival", "room", "rooms", "said", "shelf", "slopes"),
    *("tells", "told"),
}


@for_each(FILES)
def test_words_that_are_gone_do_not_come_back_in_names(file: str) -> None:
    found = {
        name
        for node in ast.walk(tree(file))
        for name in (getattr(node, field, None) for field in ("id", "attr", "name", "arg"))
        if isinstance(name, str)
    }
    words = {
        name: set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")) for name in found
    }
    found -= {"half_life", "half_life_days"}  # one word, which has no other
    assert not {name for name in found if words[name] & GONE_NAMES}


@for_each(PLAIN_DOCUMENTS)
def test_words_that_are_gone_do_not_come_back_in_documents(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8").replace("[[cells]]", "")
    for number, line in enumerate(text.splitlines(), 1):
        assert not gone_words(line), f"{file}:{number} says {gone_words(line)}; see GONE"


@for_each(FILES)
def test_a_module_opens_with_a_sentence_that_has_a_verb(file: str) -> None:
    promise = (ast.get_docstring(tree(file)) or "").partition("\n\n")[0]
    assert not re.search(r"\bin, .*\bout\b", promise, flags=re.DOTALL), file
    assert promise.endswith("."), f"{file} does not open with a sentence"
    # An order, such as "Read ...": a noun or an article opens a title, not a sentence.
    assert re.match(r"[A-Z][a-z]+,? (?!is\b|are\b)", promise), file
    assert promise.partition(" ")[0] not in ("A", "An", "The", "One", "What", "How", "This"), file


def test_no_package_holds_more_than_a_tenth_of_the_code() -> None:
    """What lies deeper, such as the readers, counts for the package that it lies in."""
    lines = Counter[str]()
    for file in FILES:
        text = (PACKAGE / file).read_text(encoding="utf-8")
        lines[file.partition("/")[0]] += len(text.splitlines())
    too_large = {name: n for name, n in lines.items() if n > lines.total() / 10}
    assert not too_large, f"split what has more than one task: {too_large}"


# What calls these gives them no names: autograd, torch in place of a function of its own, and what
# numba and Triton compile.
POSITIONAL = ("forward", "_attention")


def _is_called_by_others(function: ast.FunctionDef) -> bool:
    """Whether numba, Triton or Typer calls it: the one by position, the other always by name."""
    compiled = any("jit" in ast.unparse(decorator) for decorator in function.decorator_list)
    notes = [arg.annotation for arg in function.args.args if arg.annotation is not None]
    return compiled or any("typer." in ast.unparse(note) for note in notes)


@for_each(FILES)
def test_five_values_or_more_are_passed_by_name(file: str) -> None:
    for node in ast.walk(tree(file)):
        if not isinstance(node, ast.FunctionDef) or node.name in POSITIONAL:
            continue
        if _is_called_by_others(node) or file == "losses/kernels/ops.py":
            continue
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
        names = [name for name in names if name not in ("self", "cls", "ctx")]
        assert len(names) < 5, f"{file}:{node.lineno} takes {', '.join(names)} by position"
