"""A base run, an observer that remembers, and the fakes that take the place of the lab."""

import hashlib
from pathlib import Path

from scalelab.core.events import SweepObserver
from scalelab.sweeping import runner

FAKES = str(Path(__file__).parent)

BASE = """
[data]
reader = "table"
path = "ok"
[batch]
size = 16
[loss]
name = "dense_ce"
[train]
epochs = 3
learning_rate = 0.001
"""


class RecordingObserver(SweepObserver):
    """Remembers what a sweep announced."""

    def __init__(self):
        self.plans, self.started, self.progress, self.ended, self.messages = [], [], [], [], []
        self.num_ends = 0

    def on_plan(self, name, device, cells):
        self.plans.append(cells)

    def on_run_start(self, run_id):
        self.started.append(run_id)

    def on_progress(self, progress):
        self.progress.append(progress)

    def on_run_end(self, record):
        self.ended.append(record)

    def on_message(self, text):
        self.messages.append(text)

    def on_end(self):
        self.num_ends += 1


def data_fingerprint(data):
    return hashlib.blake2b(str(data.path).encode(), digest_size=8).hexdigest()


def no_forecast(specs, budget_bytes):
    return [None] * len(specs), []


def hooks(**changes):
    """Fakes in place of the lab."""
    plain = {
        "run": "sweeping_fakes:run",
        "modules": lambda specs: [],
        "fingerprint": data_fingerprint,
        "forecast": no_forecast,
        "baselines": lambda spec, data_fingerprint: (),
    }
    return runner.Hooks(**{**plain, **changes})
