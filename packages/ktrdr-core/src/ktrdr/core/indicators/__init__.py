"""Technical indicators: what exists (:mod:`.registry`) and what it comes to on bars (:mod:`.compute`).

The declarations and formulas are in :mod:`.momentum`, :mod:`.trend`, :mod:`.volatility`, :mod:`.volume` and
:mod:`.statistics`. Reading them loads neither TA-Lib nor pandas; computing does.
"""
