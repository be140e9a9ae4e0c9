"""The making of a verdict: runs all steps in order, from stored bars to the word."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.loading import bars_digest, fingerprint
from ktrdr.core.data.worlds import common_world
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import BacktestSettings, VerdictSettings
from ktrdr.core.limits import LINEAR_WORLDS
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.choice import choice_hash
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.overrides import override_evaluated
from ktrdr.core.training.run_checkpoint import (
    NothingToResumeError,
    default_checkpoint_root,
    reserve_checkpoint,
    run_key,
)
from ktrdr.core.trials.look import digest
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluation_facts import provenance_of
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_setup import EvaluationSetup, set_up
from ktrdr.core.validation.evaluator import Evaluator
from ktrdr.core.validation.fold_trainings import evaluation_seeds
from ktrdr.core.verdicts.null_evidence import LINEAR_KINDS, NULL_FAMILIES
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.world_batches import WorldBatches, most_worlds_at_once
from ktrdr.core.verdicts.world_folds import world_setup
from ktrdr.core.verdicts.world_log import World, WorldLog, left_by_verdict
from ktrdr.core.verdicts.world_maker import WorldMaker
from ktrdr.core.verdicts.world_trainings import WorldAccount, WorldTrainer
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.work.steps import Steps
