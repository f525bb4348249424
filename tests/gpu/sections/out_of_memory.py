"""Let a run ask for more than the GPU has, and look at how it ends."""

from call import Call

import scalelab

__all__ = ["run"]

GIB = 2**30


def run(call: Call) -> None:
    """Dense cross-entropy over 3 million items; on a CPU a small catalog and a small budget."""
    items, users, size = (3_000_000, 2000, 512) if call.is_cuda else (60_000, 300, 128)
    study = call.scratch / "too-large.toml"
    study.write_text(
        f"""base = "sasrec-synthetic"
[set]
"data.num_users" = {users}
"data.num_items" = {items}
"loss.name" = "dense_ce"
"batch.size" = {size}
"train.max_steps" = 3
"data.max_eval_users" = 64
""",
        encoding="utf-8",
    )
    ledger = call.scratch / "too-large.duckdb"
    ledger.unlink(missing_ok=True)
    # Without a budget a GPU is tried: what is predicted not to fit on it may still fit.
    budget = None if call.is_cuda else GIB // 4
    scalelab.sweep(study, ledger=ledger, device=call.device, budget=budget)
    sql = "SELECT outcome, phase, error, peak_bytes, predicted_peak_bytes FROM runs"
    (row,) = scalelab.query(ledger, sql).to_pylist()
    call.row("runs", row)
    if call.is_cuda:
        call.check("the outcome is oom", row["outcome"] == "oom", row["outcome"])
        call.check("with the phase it came in", row["phase"] in ("loss", "forward", "backward"))
        call.check("and what it held by then", (row["peak_bytes"] or 0) > 0, row["peak_bytes"])
    else:
        call.check("refused or out of memory", row["outcome"] in ("skipped", "oom"), row["outcome"])
