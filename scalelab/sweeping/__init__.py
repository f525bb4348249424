"""Run a study: choose the configurations to run, hand them to an executor, store the records.

Only this package writes the ledger. The driver has one loop and no thread but the ledger's writer.
"""
