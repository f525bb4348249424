import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from scalelab.cli import app
from scalelab.core.presets import preset_names

README = Path(__file__).resolve().parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def _shown() -> list[str]:
    """Every `scalelab ...` of the README: in blocks of shell and between back quotes."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", TEXT, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
    found = [
        part.removeprefix("$ ").strip()
        for line in lines
        for part in re.split(r"&&|\|\|?|;", line.split("  #")[0])
    ]
    commands = [part for part in found if re.match(r"scalelab( |$)", part)]
    return list(dict.fromkeys(commands))


SHOWN = _shown()


def test_the_readme_shows_commands() -> None:
    assert len(SHOWN) >= 8


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_of_the_readme_can_be_typed(line: str, scalelab: Callable) -> None:
    """Its command, options and choices exist; nothing is run."""
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    context = None
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"the README names {name!r}"
        command = command.commands[name]
    if words:
        context = command.make_context("scalelab", list(words))
        assert context.params
    path = [part for part in shlex.split(line)[1:3] if re.fullmatch(r"[a-z]+", part)]
    helped = scalelab(path[0], "--help")
    assert helped.code == 0


def test_every_command_is_in_the_readme() -> None:
    named = {shlex.split(line)[1] for line in SHOWN if len(shlex.split(line)) > 1}
    commands = set(typer.main.get_command(app).commands)
    assert commands <= named


@pytest.mark.parametrize("line", [line for line in SHOWN if " sweep " in line])
def test_a_study_of_the_readme_is_shipped_or_the_readers_own(line: str) -> None:
    name = shlex.split(line)[2]
    assert name in preset_names("studies") or name.endswith(".toml")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL))
def test_a_study_of_the_readme_is_a_study(block: str, tmp_path: Path) -> None:
    from scalelab.core.study import StudySpec
    from scalelab.studies.grid import expand

    assert "base" in tomllib.loads(block)
    file = tmp_path / "readme.toml"
    file.write_text(block, encoding="utf-8")
    assert len(expand(StudySpec.load(file))) > 1
