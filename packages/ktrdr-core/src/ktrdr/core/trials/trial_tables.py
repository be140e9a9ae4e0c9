"""Tables of the ledger of trials, in SQL that SQLite and PostgreSQL both speak."""

from __future__ import annotations

__all__ = ["SCHEMA_VERSION", "TABLES"]

SCHEMA_VERSION = 1
"""Version of these tables and of the content of rows. A ledger of a newer version is refused."""

TABLES = (
    "CREATE TABLE trial_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE trial_texts (hash TEXT PRIMARY KEY, text TEXT NOT NULL)",
    # Trials that looked at the same bars of the same symbols: their number, and sums of their Sharpe ratios.
    "CREATE TABLE trial_spans (id {key}, world TEXT NOT NULL, symbols TEXT NOT NULL, opens {integer} NOT NULL,"
    " closes {integer} NOT NULL, evaluations {integer} NOT NULL DEFAULT 0, trainings {integer} NOT NULL DEFAULT 0,"
    " rated {integer} NOT NULL DEFAULT 0, total DOUBLE PRECISION NOT NULL DEFAULT 0,"
    " squares DOUBLE PRECISION NOT NULL DEFAULT 0, UNIQUE (world, symbols, opens, closes))",
    "CREATE TABLE trial_span_symbols (world TEXT NOT NULL, symbol TEXT NOT NULL, opens {integer} NOT NULL,"
    " closes {integer} NOT NULL, span {integer} NOT NULL, PRIMARY KEY (world, symbol, opens, closes, span))",
    # A training and the evaluation of its model: two rows of one trial, counted once if both spans overlap a result's.
    "CREATE TABLE trial_pairs (training_span {integer} NOT NULL, evaluation_span {integer} NOT NULL,"
    " pairs {integer} NOT NULL, PRIMARY KEY (training_span, evaluation_span))",
    # The content is the row; the other columns are derived from it. `counted` marks the first row of each trial.
    "CREATE TABLE trial_rows (number {key}, hash TEXT NOT NULL UNIQUE, ledger TEXT NOT NULL, trial TEXT NOT NULL,"
    " fitted TEXT NOT NULL, strategy TEXT NOT NULL, trades {integer} NOT NULL, span {integer} NOT NULL,"
    " counted {integer} NOT NULL, chosen_among {integer}, content TEXT NOT NULL)",
    "CREATE INDEX trial_rows_trial ON trial_rows (trial, counted, chosen_among)",
    "CREATE INDEX trial_rows_fitted ON trial_rows (fitted, trades, counted)",
    "CREATE INDEX trial_rows_strategy ON trial_rows (strategy, chosen_among)",
    "CREATE INDEX trial_rows_span ON trial_rows (span, number)",
    "CREATE INDEX trial_rows_returns ON trial_rows (span, trades, counted, number)",
    "CREATE INDEX trial_span_symbols_symbol ON trial_span_symbols (symbol, span)",
)
"""Statements that create the tables; ``{key}`` and ``{integer}`` stand for the types of a
:class:`~ktrdr.core.trials.trial_database.TrialDatabase`."""
