"""A study in, a ledger full of runs out: the grid, the driver, and where the runs run.

Decisions. Runs are forked from a warm process of ours (`server.py`), not from multiprocessing's:
that one imports the user's script again, outlives its driver's thread, and cannot tell how much
memory a dead child had taken. Memory on a CPU is limited twice: the session ends a run whose
training peak, to the byte, is over the budget; the process as a whole may take `worker.ALLOWANCE`
more, which a limit on its data (an allocation then fails inside the run, which knows its phase)
and a watcher of its resident memory (which sees what that limit does not) enforce. A limit on
address space would count what torch merely maps. Every death is read from outside: signal 9 that
nobody here sent is the kernel's, hence out of memory. The driver has one loop and no thread but
the ledger's writer.
"""
