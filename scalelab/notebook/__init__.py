"""Show results and progress in a notebook: tables as HTML, values as attributes, data frames.

Every result is still what a script expects: a list, a tuple, a dict or a table.
"""
