"""Test the laws of a chart: it draws any ledger, and encodes only the columns of its own rows."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from scalelab.store.ledger import Ledger

__all__ = ["ChartContract"]


class ChartContract:
    """Subclass it, call the class `Test...` and set `chart`, a class.

    `ledger` is a file with finished runs, such as `scalelab sweep quickstart` leaves; where there
    is none, only the laws of an empty ledger are tested.
    """

    chart: ClassVar[Any]
    ledger: ClassVar[Path | None] = None
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def part(self) -> Any:
        """The chart under test."""
        return self.chart(**self.options)

    @pytest.fixture
    def filled(self) -> Ledger:
        """The ledger with runs."""
        if self.ledger is None:
            pytest.skip("the class names no `ledger`")
        return Ledger(self.ledger)

    def test_its_options_all_have_a_default(self) -> None:
        """A report names a chart and nothing else."""
        self.chart()

    def test_an_empty_ledger_draws(self, part: Any, tmp_path: Path) -> None:
        """A report is often drawn before the first run has ended."""
        rows = part.rows(Ledger.create_or_open(tmp_path / "empty.duckdb"))
        assert rows.num_rows == 0
        assert part.draw(rows).to_dict()

    def test_a_ledger_with_runs_draws(self, part: Any, filled: Ledger) -> None:
        """It has rows then."""
        rows = part.rows(filled)
        assert rows.num_rows
        assert part.draw(rows).to_dict()

    def test_every_encoded_field_is_a_column(self, part: Any, filled: Ledger) -> None:
        """A misspelt one would draw nothing and say nothing."""
        rows = part.rows(filled)
        spec = part.draw(rows).to_dict()
        fields = set(encoded_fields(spec))
        assert fields
        assert fields <= set(rows.column_names) | computed_fields(spec)

    def test_it_carries_its_data_and_not_too_much(self, part: Any, filled: Ledger) -> None:
        """The page works offline and opens at once."""
        spec = part.draw(part.rows(filled)).to_dict()
        assert all(len(rows) <= 5000 for rows in spec.get("datasets", {}).values())
        assert '"url"' not in json.dumps(spec)


def encoded_fields(spec: Any) -> Iterator[str]:
    """Every field that an encoding names."""
    if isinstance(spec, list):
        for inner in spec:
            yield from encoded_fields(inner)
    elif isinstance(spec, dict):
        for key, inner in spec.items():
            if key == "encoding":
                for channel in inner.values():
                    for part in channel if isinstance(channel, list) else [channel]:
                        if "field" in part:
                            yield part["field"]
            elif key != "datasets":
                yield from encoded_fields(inner)


def computed_fields(spec: Any) -> set[str]:
    """Names that transforms inside the chart add."""
    found: set[str] = set()

    def note(part: dict[str, Any]) -> dict[str, Any]:
        names = [part["as"]] if isinstance(part.get("as"), str) else []
        found.update(names)
        found.update(op["as"] for op in part.get("aggregate", []) if isinstance(op, dict))
        return part

    json.loads(json.dumps(spec), object_hook=note)
    return found
