"""KTRDR: research of neuro-fuzzy trading strategies.

.. code-block:: python

    import ktrdr.core as kt

    kt.data.import_sample()
    training = kt.train(kt.example_strategy())
    backtest = kt.backtest(training, commission=0.00002)
    backtest.metrics

Public are the names in ``__all__`` of this package and of the packages that it names; everything else may change
without notice. A name is imported when it is first used, so that ``import ktrdr.core`` costs nothing.
"""

from ktrdr.core.lazy_names import lazy_names

# As in `typing`, whose import would cost more than all of this package's.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ktrdr.core import data, evaluations, indicators, models, runs, trials, verdicts
    from ktrdr.core.errors import BadInputError, CancelledError, KtrdrError, NotFoundError
    from ktrdr.core.face.backtest_face import Backtest, backtest
    from ktrdr.core.face.check_face import Check, check
    from ktrdr.core.face.evaluation_face import Evaluation, evaluate
    from ktrdr.core.face.explanation_face import Explanation, explain
    from ktrdr.core.face.strategy_face import Strategy, example_strategy, load_strategy
    from ktrdr.core.face.sweep_face import Sweep, sweep
    from ktrdr.core.face.training_face import Training, train
    from ktrdr.core.face.verdict_face import Verdict, verdict
    from ktrdr.core.strategy.diagnostics import StrategyError

__all__ = [
    "Backtest",
    "BadInputError",
    "CancelledError",
    "Check",
    "Evaluation",
    "Explanation",
    "KtrdrError",
    "NotFoundError",
    "Strategy",
    "StrategyError",
    "Sweep",
    "Training",
    "Verdict",
    "backtest",
    "check",
    "data",
    "evaluate",
    "evaluations",
    "example_strategy",
    "explain",
    "indicators",
    "load_strategy",
    "models",
    "runs",
    "sweep",
    "train",
    "trials",
    "verdict",
    "verdicts",
]

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **{
            name: f"{__name__}.{name}"
            for name in ("data", "evaluations", "indicators", "models", "runs", "trials", "verdicts")
        },
        **dict.fromkeys(("BadInputError", "CancelledError", "KtrdrError", "NotFoundError"), f"{__name__}.errors"),
        "StrategyError": f"{__name__}.strategy.diagnostics",
        **dict.fromkeys(("Strategy", "example_strategy", "load_strategy"), f"{__name__}.face.strategy_face"),
        **dict.fromkeys(("Training", "train"), f"{__name__}.face.training_face"),
        **dict.fromkeys(("Backtest", "backtest"), f"{__name__}.face.backtest_face"),
        **dict.fromkeys(("Sweep", "sweep"), f"{__name__}.face.sweep_face"),
        **dict.fromkeys(("Evaluation", "evaluate"), f"{__name__}.face.evaluation_face"),
        **dict.fromkeys(("Verdict", "verdict"), f"{__name__}.face.verdict_face"),
        **dict.fromkeys(("Explanation", "explain"), f"{__name__}.face.explanation_face"),
        **dict.fromkeys(("Check", "check"), f"{__name__}.face.check_face"),
    },
)
