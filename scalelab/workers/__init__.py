"""Run tasks in processes of their own, here or on a cluster, and return a record of each.

A worker never opens the ledger: it returns records, and `scalelab.sweeping` stores them.

Decisions. Runs are forked from a warm process of ours (`fork_server.py`), not from
multiprocessing's: that one imports the user's script again, outlives its driver's thread, and
cannot tell how much memory a dead child had taken. Memory on a CPU is limited twice: the session
ends a run whose training peak, to the byte, is over the budget; the process as a whole may take
`worker.ALLOWANCE` more, which a limit on its data (an allocation then fails inside the run, which
knows its phase) and a watcher of its resident memory (which sees what that limit does not)
enforce. A limit on address space would count what torch merely maps. How a process died is read
from outside.
"""
