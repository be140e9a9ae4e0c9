"""Jobs: plain data that describe a training, an evaluation, a verdict, a backtest or a sweep, to be run in any process."""
