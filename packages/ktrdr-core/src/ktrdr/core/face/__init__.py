"""The functions that Python code calls to train, to backtest and to read results, over the workflows."""
