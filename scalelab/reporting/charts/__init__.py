"""Draw charts, one class per file: `rows(ledger)` queries a table, `draw(rows)` only draws it."""
