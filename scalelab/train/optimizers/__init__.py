"""Update weights: the item table by rules of its own, the encoder by an optimizer of torch.

`rules.py` says how rows are updated from their gradients, `table.py` applies a rule to the table,
whole or streamed, `schedules.py` says how step sizes change over a run, `build.py` makes all from
a spec.
"""
