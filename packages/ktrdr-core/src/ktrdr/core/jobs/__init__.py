"""Jobs: plain data that describe a training, a backtest, a sweep, an evaluation or a verdict, to run in any process."""
