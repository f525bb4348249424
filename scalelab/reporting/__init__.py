"""Draw the results of a ledger as charts and as one offline page, without torch."""
