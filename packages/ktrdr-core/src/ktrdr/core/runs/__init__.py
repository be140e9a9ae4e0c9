"""The store of results of backtests."""
