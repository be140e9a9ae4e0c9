"""Validation over time: folds that later bars judge, purged and embargoed, and the evaluation of a strategy on them."""
