"""Find the TOML file that the name or path of a preset means."""

from pathlib import Path

from scalelab.core.errors import SpecError, nearest

__all__ = ["find_preset", "preset_names", "shipped_published"]

_PACKAGE = Path(__file__).resolve().parent.parent
# A wheel carries the presets inside the package; a checkout has them beside it.
_ROOTS = (_PACKAGE / "presets", _PACKAGE.parent)
_PATTERNS = {
    "runs": ("profiles/runs", "*.toml"),
    "devices": ("profiles/devices", "*.toml"),
    "studies": ("studies", "*/study.toml"),
}


def _shipped(kind: str) -> dict[str, Path]:
    folder, pattern = _PATTERNS[kind]
    for root in _ROOTS:
        files = sorted((root / folder).glob(pattern))
        if files:
            return {(f.parent.name if kind == "studies" else f.stem): f for f in files}
    return {}


def preset_names(kind: str) -> list[str]:
    """Names of the presets that travel with scalelab; `kind` is runs, devices or studies."""
    return sorted(_shipped(kind))


def shipped_published() -> Path:
    """The table of published results, each with its source, that travels with scalelab."""
    return next(file for root in _ROOTS if (file := root / "studies" / "published.csv").is_file())


def find_preset(kind: str, name: str | Path, beside: Path | None = None) -> Path:
    """The file of a preset of that name, or of a path (relative to `beside`, then to here).

    A folder stands for the `study.toml` in it. Raises SpecError, with the nearest name.
    """
    shipped = _shipped(kind)
    if str(name) in shipped:
        return shipped[str(name)]
    for candidate in ([] if beside is None else [beside / name]) + [Path(name)]:
        if candidate.is_dir() and (candidate / "study.toml").is_file():
            return candidate / "study.toml"
        if candidate.is_file():
            return candidate
    singular = {"runs": "run profile", "devices": "device profile", "studies": "study"}[kind]
    hint = nearest(str(name), shipped) if shipped else "give a path to a TOML file"
    raise SpecError(f"no {singular} and no file called {str(name)!r}", hint)
