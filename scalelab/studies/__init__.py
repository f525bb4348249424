"""Expand studies into configurations, search among them, and predict what each would take.

A study is read from TOML. Nothing here runs a configuration or opens a ledger.
"""
