"""The notebook of quickstart runs from the first cell to the last, and shows what it says."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).resolve().parents[2] / "studies" / "quickstart" / "notebook.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each cell shows, as one text of all its outputs."""
    notebook = nbformat.read(FILE, as_version=4)
    assert len(notebook.cells) == 10
    assert not any(cell.get("outputs") for cell in notebook.cells)
    folder = tmp_path_factory.mktemp("notebook")
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    done = client.execute()
    assert (folder / "notebook.duckdb").exists()
    assert (folder / "notebook.html").exists()
    return [
        "".join(
            str(output.get("text", "")) + "".join(map(str, output.get("data", {}).values()))
            for output in cell.get("outputs", ())
        )
        for cell in done.cells
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_cell_shows_its_result(outputs: list[str]) -> None:
    doctor, plan, frame, sweep, answer, rows, chart, table, page = outputs[1:]
    assert "<td" in doctor
    assert "All 6 configurations fit" in plan
    assert "prediction" in plan  # the bar of progress
    assert "needed_bytes" in frame
    assert "<th>done</th><td>6</td>" in sweep
    assert "6/6" in sweep  # the bar of progress
    assert 'class="answer"' in answer
    assert rows.count("<tr>") == 7
    assert "vega-lite" in chart
    assert "hr@10" in table.lower()
    assert "srcdoc" in page
