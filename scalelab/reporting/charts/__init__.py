"""One chart a file: `rows(ledger)` asks for a table, `draw(rows)` encodes it and nothing more."""
