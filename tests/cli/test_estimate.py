import json
from collections.abc import Callable
from pathlib import Path

import pytest

FILE = """
import torch
from torch import nn
import torch.nn.functional as F
import beside

print("made")


def step(model, inputs):
    return F.cross_entropy(model(inputs[0]), inputs[1])


def small():
    model = nn.Sequential(nn.Linear(64, beside.WIDTH), nn.ReLU(), nn.Linear(beside.WIDTH, 10))
    inputs = torch.randn(32, 64), torch.randint(0, 10, (32,))
    return model, step, inputs, torch.optim.Adam(model.parameters())


def recurrent():
    model = nn.GRU(8, 8)
    return model, lambda m, x: m(x)[0].sum(), torch.randn(4, 3, 8), None


def three():
    return small()[:3]


def wrong():
    model, _, inputs, optimizer = small()
    return model, lambda m, x: m(x), inputs, optimizer


def fails():
    raise ValueError("of the\\nauthor's")


def swapped():
    model, step, inputs, optimizer = small()
    return model, step, inputs, model


NUMBER = 3
"""


@pytest.fixture
def my_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_step.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "beside.py").write_text("WIDTH = 256\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_shows_tables_and_says_that_it_fits(my_step: Path, scalelab: Callable) -> None:
    done = scalelab("estimate", "my_step.py:small", "--on", "h100", "--budget", "24GiB")
    assert done.code == 0
    for word in ("parameters", "peak of backward", "reserved", "fits into 24 GiB"):
        assert word in done.out
    assert "made" not in done.out


def test_it_is_one_json_document(my_step: Path, scalelab: Callable) -> None:
    done = scalelab("estimate", "my_step.py:small", "--on", "h100", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["fits"] is True
    requested = found["memory"]["requested"]
    assert sum(count for kind, count in requested.items() if kind != "total") == requested["total"]
    assert found["memory"]["reserved"]["total"] <= found["memory"]["device_used"]["total"]
    assert found["seconds"]["step"]["low"] < found["seconds"]["step"]["high"]
    assert found["modules"]["0"]["parameters"] == 4 * (64 * 256 + 256)
    assert found["exact"] is True


def test_it_exits_1_where_it_does_not_fit(my_step: Path, scalelab: Callable) -> None:
    for extra in ((), ("--json",)):
        done = scalelab("estimate", "my_step.py:small", "--on", "cpu", "--budget", "64KiB", *extra)
        assert done.code == 1
        assert "would not fit" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_step.py:smal"], "no function 'smal'"),
        (["my_step.py:NUMBER"], "no function 'NUMBER'"),
        (["my_step.py"], "invalid step"),
        ([":small"], "invalid step"),
        (["nowhere.py:small"], "no file nowhere.py"),
        (["no.such.module:small"], "cannot import no.such.module"),
        (["broken.py:small"], "nothing_of_that_name"),
        (["my_step.py:three"], "returned"),
        (["my_step.py:wrong"], "the step failed"),
        (["my_step.py:fails"], "of the author's"),
        (["my_step.py:swapped"], "optimizer is of type Sequential"),
        (["my_step.py:recurrent", "--on", "h100"], "cuDNN"),
        (["my_step.py:small", "--on", "h1000"], "h1000"),
        (["my_step.py:small", "--budget", "3parsecs"], "3parsecs"),
        (["my_step.py:small", "--on", "cpu", "--budget", "900TiB"], "budget"),
        (["my_step.py:small", "--accumulate", "0"], "accumulate"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, my_step: Path, scalelab: Callable
) -> None:
    done = scalelab("estimate", *arguments)
    assert done.code == 2
    told = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert message in told[0]
    assert "Traceback" not in done.err
    assert done.out == ""


def test_the_help_has_an_example(scalelab: Callable) -> None:
    done = scalelab("estimate", "--help")
    assert "scalelab estimate my_step.py:small --on h100" in done.out
