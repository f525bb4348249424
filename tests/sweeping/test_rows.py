"""What the lab says of a run is what the ledger can hold."""

import pytest

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra
from scalelab.core.initial_row import new_row
from scalelab.core.records import Record
from scalelab.core.spec import RunSpec
from scalelab.store.ledger import Ledger


@pytest.mark.parametrize("kind", ["losses", "models", "packers", "negatives"])
def test_the_row_of_every_part_can_be_stored(kind, tmp_path):
    key = {"losses": "loss", "models": "model", "negatives": "negatives"}.get(kind)
    ledger = Ledger.create_or_open(tmp_path / "rows.duckdb")
    records = []
    for name in plugins.available(kind):
        changes = {"batch.packer" if key is None else f"{key}.name": name}
        try:
            spec = RunSpec.load("sasrec-synthetic", {"loss.name": "bce"} | changes)
        except MissingExtra:
            continue
        records.append(Record(run=new_row(spec, run_id=name, study_id=None, attempt=1)))
    ledger.append(records)
    stored = ledger.query("SELECT count(*) AS n FROM runs").to_pylist()
    assert stored == [{"n": len(records)}]
    assert len(records) > 1
