"""Write results as tables: for a paper, beside published results, or as plain rows."""
