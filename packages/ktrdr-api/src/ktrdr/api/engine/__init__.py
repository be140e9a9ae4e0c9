"""Where operations are carried out: the port the ledger speaks to, and what stands behind it."""
