"""Say in a few plain sentences which configuration of a ledger to take, and how sure that is."""
