"""The section of the README for other people's loops does what it says, as it is written."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scalelab import api

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("## In your own training loop\n")[2].partition("\n## ")[0]
ACCOUNT, STEP, LOSSES = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def test_the_account_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict = {}
    exec(ACCOUNT, names)
    shown = capsys.readouterr().out
    assert "optimizer state" in shown
    assert "peak of backward" in shown
    assert names["step"].memory.components["optimizer_state"] > 0


def test_the_estimate_of_the_file_is_made(tmp_path: Path) -> None:
    (tmp_path / "my_step.py").write_text(STEP, encoding="utf-8")
    found = api.estimate_file(f"{tmp_path}/my_step.py:small", on="h100", budget="24GiB")
    assert found.fits
    assert found.memory.exact
    assert not api.estimate_file(f"{tmp_path}/my_step.py:small", on="h100", budget="20MiB").fits


def test_the_losses_are_functions_of_plain_tensors() -> None:
    names: dict = {}
    exec(LOSSES, names)
    hidden, table, targets = names["hidden"], names["item_table"], names["targets"]
    scores = hidden.detach() @ table.detach().T
    scores[:, 0] = -torch.inf
    expected = torch.nn.functional.cross_entropy(scores, targets)
    assert names["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert hidden.grad is not None
    assert table.grad.shape == table.shape
    assert names["sampled"].isfinite()
