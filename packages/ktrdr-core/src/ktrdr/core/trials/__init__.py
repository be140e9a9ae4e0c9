"""The ledger of trials: every look at out-of-sample results, whoever took it."""
