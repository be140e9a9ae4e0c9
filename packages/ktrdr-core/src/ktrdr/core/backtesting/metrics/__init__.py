"""Metrics of accounts and trades: pure functions over arrays. A metric that is not defined is ``None``."""

from ktrdr.core.backtesting.metrics.account_curve import AccountCurve, account_metrics, deflate
from ktrdr.core.backtesting.metrics.catalogue import METRICS, MetricInfo, format_metric, worse_than
from ktrdr.core.backtesting.metrics.trade_statistics import trade_metrics

__all__ = [
    "METRICS",
    "AccountCurve",
    "MetricInfo",
    "account_metrics",
    "deflate",
    "format_metric",
    "trade_metrics",
    "worse_than",
]
