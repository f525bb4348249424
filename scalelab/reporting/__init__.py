"""A ledger in, charts, tables and one offline page out. Knows no torch."""
