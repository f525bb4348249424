"""Run a study: choose what is due, keep the executor busy, store a record of each run.

Only this package writes the ledger. The driver has one loop and no thread but the ledger's writer.
"""
