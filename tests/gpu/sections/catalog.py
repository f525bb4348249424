"""Train on 32 million items of width 128, where a public log ran out of memory, as predicted."""

import json
from typing import Any

from call import Call

import scalelab
from sections.memory import compare_runs, swept

__all__ = ["run"]

# In order of worth: runs of the study catalog-32m.
CELLS: list[dict[str, Any]] = [
    {
        "loss.name": "cross_entropy",
        "train.table.optimizer": "rowwise_adagrad",
        "train.precision": "bf16",
    },
    {
        "loss.name": "cross_entropy",
        "train.table.update": "dense",
        "train.table.optimizer": "adam",
        "train.precision": "bf16",
    },
    {"loss.name": "sampled_softmax", "train.table.optimizer": "lazy_adam"},
    {"loss.name": "cross_entropy", "train.table.optimizer": "rowwise_adagrad"},
    {"loss.name": "sampled_softmax", "train.table.optimizer": "rowwise_adagrad"},
    {
        "loss.name": "sampled_softmax",
        "train.table.optimizer": "rowwise_adagrad",
        "model.table_dtype": "bf16",
    },
    {"loss.name": "sampled_softmax", "table.name": "product_quantised"},
]
LARGE: dict[str, Any] = {
    "data.num_users": 1_000,
    "data.num_items": 32_038_726,
    "data.min_length": 203,
    "data.mean_length": 203,
    "data.max_length": 203,
    "batch.size": 256,
    "batch.max_len": 200,
    "model.hidden_dim": 128,
    "model.num_heads": 2,
    "negatives.num_negatives": 12_288,
}
TINY = {
    "data.num_users": 100,
    "data.num_items": 1_000,
    "batch.size": 16,
    "batch.max_len": 20,
    "model.hidden_dim": 16,
    "negatives.num_negatives": 64,
}


def run(call: Call) -> None:
    """Two steps each, in the product's own sweep; 64 users are ranked for."""
    settings: dict[str, Any] = {
        "data.max_eval_users": 64,
        "negatives.per": "batch",
        "train.epochs": 1,
        "train.max_steps": 2,
        "train.table.update": "streamed",
    }
    settings |= LARGE if call.is_cuda else TINY
    lines = ['base = "sasrec-synthetic"', "[set]"]
    lines += [f'"{key}" = {json.dumps(value)}' for key, value in settings.items()]
    for cell in CELLS:
        lines += ["[[cells]]", *(f'"{key}" = {json.dumps(value)}' for key, value in cell.items())]
    ledger = swept(call, "catalog", "\n".join(lines) + "\n")
    rows = scalelab.query(
        ledger, "SELECT loss, train_s, eval_s, error FROM runs ORDER BY started_at"
    )
    for row in rows.to_pylist():
        call.row("seconds", row)
    compare_runs(call, ledger, len(CELLS))
