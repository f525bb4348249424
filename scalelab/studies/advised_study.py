"""Write the study that advice has chosen as a TOML file that a sweep takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from scalelab.core.arguments import write_text
from scalelab.core.errors import SpecError
from scalelab.core.study import StudySpec
from scalelab.studies.schedule import FACTOR, Schedule

__all__ = ["AdvisedStudy", "check_absent", "write_study"]


@dataclass(frozen=True, kw_only=True)
class AdvisedStudy:
    """The configurations that are compared, each with its note, and for how long."""

    base: str
    name: str
    set: dict[str, Any]
    cells: list[dict[str, Any]]
    notes: list[str]
    schedule: Schedule | None
    hours: float | None
    memory_bytes: int | None
    device: str

    def as_toml(self) -> str:
        """The text of the file."""
        keys = dict(self.set)
        sections: dict[str, Any] = {"base": self.base, "charts": ["pareto", "breakdown"]}
        if self.schedule is not None:
            # What `scalelab plan` shows is then the longest run of the study.
            keys["train.epochs"] = self.schedule.epochs[-1]
        sections["set"] = keys
        if self.schedule is not None and len(self.schedule.epochs) > 1:
            sections["halving"] = {"epochs": list(self.schedule.epochs), "factor": FACTOR}
        budget: dict[str, str] = {}
        if self.memory_bytes is not None:
            budget["memory"] = f"{self.memory_bytes}B"
        if self.hours is not None:
            budget["total"] = f"{self.hours:g}h"
        if budget:
            sections["budget"] = budget
        first = (
            f"# Which loss and which settings? Chosen by `scalelab advise` for {self.device}; "
            "quality is not\n# predicted, so this study measures it.\n"
        )
        cells = [
            f"\n# {note}\n[[cells]]\n{tomli_w.dumps(keys)}"
            for keys, note in zip(self.cells, self.notes, strict=True)
        ]
        return first + tomli_w.dumps(sections) + "".join(cells)

    def as_document(self, file: Path) -> dict[str, Any]:
        """Facts for JSON."""
        schedule = self.schedule
        return {
            "file": str(file),
            "ledger": f"{StudySpec.load(file).name}.duckdb",
            "number": len(self.cells),
            "rounds": []
            if schedule is None
            else [
                {"configurations": number, "epochs": epochs}
                for number, epochs in zip(schedule.numbers, schedule.epochs, strict=True)
            ],
            "seconds": None
            if schedule is None
            else {"low": schedule.low_s, "high": schedule.high_s},
        }


def check_absent(file: Path) -> None:
    """Raises SpecError where the file is there: it is never overwritten."""
    if file.exists():
        hint = "give another file with --out, or delete it; with --run the same command resumes"
        raise SpecError(f"{file} exists already", hint)


def write_study(study: AdvisedStudy, file: Path) -> None:
    """Write the file; the same text that is there already is taken as it is. Raises SpecError."""
    text = study.as_toml()
    if not file.exists():
        write_text(file, text)
    elif not file.is_file() or file.read_text(encoding="utf-8") != text:
        hint = f"scalelab sweep {file} goes on with that one; --out NAME.toml writes another"
        raise SpecError(f"{file} exists already and is another study", hint)
