"""Ctrl-C and SIGTERM end the predictions of a large study at once, and nothing is lost."""

import os
import signal
import time

import pytest
from sweeping_helpers import hooks, no_forecast

from scalelab.store.ledger import Ledger


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_signal_ends_the_predictions(study, sweep, tmp_path, observer, number, executor):
    predicted = []

    def forecast(specs, budget_bytes):
        os.kill(os.getpid(), number)
        for spec in specs:
            time.sleep(0.01)
            predicted.append(spec)
        return no_forecast(specs, budget_bytes)

    asked = study(axes={"batch.size": list(range(1, 61))})
    result = sweep(asked, executor=executor, observer=observer, hooks=hooks(forecast=forecast))
    assert len(predicted) < 60
    assert result.interrupted
    assert result.exit_code == 130
    assert observer.started == []
    assert Ledger(tmp_path / "fake.duckdb").query("FROM runs").num_rows == 0
    # The signals are the program's own again.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sweep(asked).counts == {"done": 60}


def test_a_signal_while_data_are_looked_at_is_obeyed_too(study, sweep, observer):
    def fingerprint(data):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        pytest.fail("goes on reading data")

    result = sweep(study(), observer=observer, hooks=hooks(fingerprint=fingerprint))
    assert result.interrupted
    assert observer.started == []
