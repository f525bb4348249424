"""Write the results of a ledger as charts, tables and one offline page, without torch."""
