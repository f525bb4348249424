"""Train and evaluate a model: the one place where a model, a loss and batches meet.

`step.py` is a training step announced phase by phase, the same function whether it trains, is
measured or runs on fake tensors; `trainer.py` repeats it with early stopping; `evaluate.py` ranks
against the whole catalog; `assemble.py` makes all parts from a spec; `checkpoint.py` keeps them on
disk.

Randomness is reset at the start of every epoch from (seed, epoch), so that a run that goes on from
a checkpoint draws what the undisturbed run would have drawn.
"""
