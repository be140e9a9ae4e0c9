"""Jobs: plain data that describe a training, a backtest or a sweep, to be run in any process."""
