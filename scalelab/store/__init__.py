"""Store records in one DuckDB file (the ledger) and answer queries as Arrow tables.

Decisions. One process writes, and only for the moment of a commit: DuckDB lets nobody read while a
writer holds the file. A `.lock` file beside the ledger is what a sweep holds from start to end. A
killed driver leaves at most a write-ahead log, which the next to open the file replays.
"""
