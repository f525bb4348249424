"""Run each task in a process of its own, here or on a cluster, and return its record.

A worker never opens the ledger: it returns records, and `scalelab.sweeping` stores them.

Decisions. Runs are forked from a process of our own that has imported torch (`fork_server.py`), not
from multiprocessing's fork server: that one imports the user's script again, outlives its driver's
thread, and does not report how much memory a dead child had taken. Memory on a CPU is limited
twice: the session ends a run whose training peak, to the byte, is over the budget; the process as a
whole may take more (`core.limits.process_limit`), which a limit on its data (an allocation then
fails inside the run, which knows its phase) and a check of its resident memory (which covers what
that limit does not) enforce. A limit on address space would count files that torch only maps. The
exit status of a process says how it ended.
"""
