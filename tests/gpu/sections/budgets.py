"""Sweep under budgets: too little ends a run, enough does not, host memory does not count."""

from typing import Any

from call import Call

import scalelab

__all__ = ["run"]


def run(call: Call) -> None:
    """A tiny run under 1 GiB; then one that needs more than 1 GiB and less than 8."""
    tiny, large = ({"data.num_items": 3000}, {"data.num_items": 1_000_000})
    if not call.is_cuda:
        large = {"data.num_items": 60_000, "loss.name": "dense_ce", "batch.size": 128}
    little = "1GiB" if call.is_cuda else "256MiB"
    row = _sweep(call, "tiny", tiny, little)
    call.check(f"a tiny run is done under {little}", row["outcome"] == "done", row)
    row = _sweep(call, "large", large, little)
    ended = row["outcome"] in ("skipped", "oom")
    call.check(f"a large one is refused or out of memory under {little}", ended, row)
    if call.is_cuda:  # on a CPU that takes long, and says nothing of a GPU
        row = _sweep(call, "large", large, "8GiB")
        call.check("and done under 8GiB", row["outcome"] == "done", row)


def _sweep(call: Call, name: str, changes: dict[str, Any], budget: str) -> dict[str, Any]:
    study = call.scratch / f"{name}.toml"
    settings = {"data.num_users": 500, "train.max_steps": 3, "data.max_eval_users": 64} | changes
    lines = [
        f'"{key}" = "{value}"' if isinstance(value, str) else f'"{key}" = {value}'
        for key, value in settings.items()
    ]
    text = 'base = "sasrec-synthetic"\n[set]\n' + "\n".join(lines) + "\n"
    study.write_text(text, encoding="utf-8")
    ledger = call.scratch / f"{name}-{budget}.duckdb"
    ledger.unlink(missing_ok=True)
    scalelab.sweep(study, ledger=ledger, device=call.device, budget=budget)
    sql = "SELECT outcome, phase, error, peak_bytes, predicted_peak_bytes, wall_s FROM runs"
    (row,) = scalelab.query(ledger, sql).to_pylist()
    call.row("runs", {"run": name, "budget": budget} | row)
    return row
