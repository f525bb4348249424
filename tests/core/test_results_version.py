"""What decides the numbers of a run does not change while RESULTS_VERSION stays."""

import json
import sys
from pathlib import Path

from scalelab.core.part_sources import RECORD

sys.path.insert(0, str(Path(__file__).parent.parent))
from record_sources import current

ADVICE = (
    "Where these changes can alter a number of some run, raise RESULTS_VERSION. In any case (a "
    "rename or an error message alters none) record the sources: python tests/record_sources.py"
)


def test_sources_that_decide_numbers_are_those_on_record() -> None:
    known, now = json.loads(RECORD.read_text(encoding="utf-8")), current()
    changed = sorted(
        name
        for section in ("parts", "modules")
        for name in known[section].keys() | now[section].keys()
        if known[section].get(name) != now[section].get(name)
    )
    assert not changed, f"not as recorded: {', '.join(changed)}. {ADVICE}"
    assert known["results_version"] == now["results_version"], ADVICE
