"""Hold the files that a report wrote, and show them in a notebook."""

import base64
from html import escape
from pathlib import Path

__all__ = ["WrittenFiles"]


class WrittenFiles(list[Path]):
    """The files that were written, in order. A notebook shows pages and charts in place."""

    def _repr_html_(self) -> str:
        return "".join(_shown(file) for file in self)


def _shown(file: Path) -> str:
    """A page in a frame of its own, so that its styles and scripts stay there; else a picture."""
    name = escape(str(file))
    if file.suffix == ".html":
        page = escape(file.read_text(encoding="utf-8"))
        style = "width: 100%; height: 640px; border: 0"
        return f'<iframe title="{name}" style="{style}" srcdoc="{page}"></iframe>'
    kinds = {".png": "image/png", ".svg": "image/svg+xml"}
    if file.suffix in kinds:
        data = base64.b64encode(file.read_bytes()).decode()
        return f'<img alt="{name}" src="data:{kinds[file.suffix]};base64,{data}">'
    return f"<p>wrote <code>{name}</code></p>"
