"""Many backtests of one model, each with other settings of the strategy."""
