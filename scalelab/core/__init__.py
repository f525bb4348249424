"""The vocabulary: errors, units, events, records, specs and parts by name. Imports nothing of
scalelab.
"""
