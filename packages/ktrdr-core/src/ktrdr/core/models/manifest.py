"""The manifest of a bundle, `manifest.json`, as pydantic models."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from ktrdr.core.files.json_values import plain_json
from ktrdr.core.inference.twin_names import twin_files
from ktrdr.core.limits import LARGEST_SEED, LARGEST_VERSION, LARGEST_WINDOW, MOST_EPOCHS, MOST_SEEDS
from ktrdr.core.names import NAME_PATTERN, VERSION_PATTERN, WORLD_PATTERN, named_market
from ktrdr.core.short_texts import counted, first_words, short_repr
from ktrdr.core.strategy.model import EnsembleSection, Strategy

__all__ = [
    "BUNDLE_FORMAT",
    "MANIFEST_FILE",
    "MEMBERS_DIRECTORY",
    "WEIGHTS_PREFIX",
    "DataReference",
    "Environment",
    "EvaluationRecord",
    "GitState",
    "Manifest",
    "ManifestFields",
    "MemberRecord",
    "Period",
    "PluginReference",
    "SplitBoundaries",
    "TwinRecord",
    "file_of",
    "member_directory",
]

BUNDLE_FORMAT = 6
"""Version of the bundle format: of the manifest (key ``schema_version``) and of core's other files.

It is raised when an older core could not read the bundles of this one. A bundle of a newer format is refused; a bundle
of an older format is read, and is converted to this one when it is imported. It is independent of the version of the
plugin contract, which does not affect stored files. Format 2 added ``warnings`` and the calendars of the training data,
format 3 the ``origin`` of imported bundles, format 4 ``members`` and their directories, format 5 ``twin`` and its
files, format 6 ``evaluation`` and its file, and the reserve of the data.
"""

MANIFEST_FILE = "manifest.json"
"""Name of the file that lists all other files of a bundle."""

WEIGHTS_PREFIX = "weights."
"""Prefix of the weights files. A bundle has at least one."""


MEMBERS_DIRECTORY = "members"
"""Name of the directory of an ensemble's members."""

_FILE_NAME = re.compile(rf"({MEMBERS_DIRECTORY}/[0-9]{{2}}/)?{NAME_PATTERN}(\.[A-Za-z0-9_-]{{1,32}}){{1,3}}")


def member_directory(number: int) -> str:
    """Return the name of the directory of an ensemble's member, counted from 1: ``members/01``."""
    return f"{MEMBERS_DIRECTORY}/{number:02}"


def file_of(name: str) -> str:
    """Return the name of a file of a bundle without its directory."""
    return name.rpartition("/")[2]


def _file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name) or file_of(name) == MANIFEST_FILE:
        raise ValueError(f"{name!r} cannot be the name of a file in a bundle")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Such names appear in messages and in `pip install` remedies: only characters that these names can have.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,127}$")]
# Printed unchanged: no control characters, which could move the cursor of a terminal.
Sentence = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
# Results of the steps of training: numpy numbers become plain numbers, NaN and infinity become null.
JsonMap = Annotated[dict[str, JsonValue], BeforeValidator(plain_json)]
Numbers = Annotated[dict[str, dict[str, int | float | None]], BeforeValidator(plain_json)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PluginReference(_Part):
    """The backend that wrote the weights, and its distribution.

    ``contract`` is the version of the plugin contract at that time. It is for information; no bundle is refused because
    of it.
    """

    name: Word
    version: Word
    contract: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}$")]
    distribution: Word


class Period(_Part):
    """A half-open period, UTC: from the open of the first bar to the close of the last."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> Period:
        if self.end < self.start:
            raise ValueError(f"the period ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()})")
        return self


class SplitBoundaries(_Part):
    """Training, validation and test part of one symbol's bars, and their reserve; ``None`` for an empty part."""

    train: Period
    validation: Period | None = None
    test: Period | None = None
    reserve: Period | None = None


class DataReference(_Part):
    """The market data a model was trained on.

    Attributes:
        fingerprint: sha256 of the content of the bars.
        symbols, timeframes, base_timeframe: as in the strategy.
        start, end: open of the first bar used and close of the last, UTC.
        rows: number of base bars by symbol.
        split: parts by symbol.
        calendars: trading calendars by symbol; empty in bundles of format 1.
        world: name of the synthetic market that the bars are from; empty for imported bars.
    """

    fingerprint: Sha256
    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    base_timeframe: str
    start: AwareDatetime
    end: AwareDatetime
    rows: dict[str, Annotated[int, Field(ge=0)]]
    split: dict[str, SplitBoundaries] = {}
    calendars: dict[str, Sentence] = {}
    world: Annotated[str, Field(pattern=f"^({WORLD_PATTERN})?$")] = ""

    @property
    def days(self) -> str:
        """First and last day of the bars used: ``2017-01-01 to 2017-09-29``, UTC."""
        # The API reads manifests, and starts without numpy.
        from ktrdr.core.data.times import last_day

        return f"{self.start:%Y-%m-%d} to {last_day(self.end)}"

    @property
    def market(self) -> str:
        """The symbols, and the synthetic market if the bars are from one."""
        return named_market(first_words(self.symbols), self.world)

    @property
    def summary(self) -> str:
        """Symbols, timeframes and days on one line: ``EURUSD 1h, 2017-01-01 to 2017-09-29``."""
        return f"{self.market} {first_words(self.timeframes)}, {self.days}"

    def __repr__(self) -> str:
        return short_repr(f"{type(self).__name__} {self.summary}")

    __str__ = __repr__


class Environment(_Part):
    """Python, platform and packages of the training run. ``packages`` maps distribution to version."""

    python: Sentence
    platform: Sentence
    packages: dict[Sentence, Sentence] = {}


class GitState(_Part):
    """The git commit of the directory that training ran in. ``dirty``: there were uncommitted changes."""

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{4,64}$")]
    dirty: bool


class MemberRecord(_Part):
    """One of several trainings that differ in the seed.

    Attributes:
        seed: seed of every random choice.
        best_epoch: epoch whose weights were kept, from 1.
        metrics: plain numbers by part, ``validation`` and ``test``.
        monitor: name of the metric that decided on the best epoch; ``None`` if it is not known.
        monitored: its value at the best epoch; ``None`` if it is not known.
        facts: JSON map that the plugin's storage returned; empty if the model was not stored.
    """

    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)]
    best_epoch: Annotated[int, Field(ge=0, le=MOST_EPOCHS, strict=True)]
    metrics: Numbers = {}
    monitor: Word | None = None
    monitored: float | None = None
    facts: JsonMap = {}


class TwinRecord(_Part):
    """The portable twin of a model, or the reason why it has none.

    Attributes:
        rows: number of predictions that were compared with those of the backend.
        difference: their largest difference: of probabilities, or of values relative to their size.
        missing: why the model has no twin, one sentence; empty if it has one.
    """

    rows: Annotated[int, Field(ge=0, strict=True)] = 0
    difference: Annotated[float, Field(ge=0)] | None = None
    missing: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=1_000)] = ""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> TwinRecord:
        if (self.difference is None) != bool(self.missing) or (self.difference is None) != (self.rows == 0):
            raise ValueError("a twin has `rows` and a `difference`, and a missing one has a reason")
        return self


class EvaluationRecord(_Part):
    """The figures of the evaluation that a model was trained from, all of them out of sample.

    They are those of the trainings of the evaluation's folds. The model itself is fitted to all bars before the
    reserve, so nothing before the reserve can judge it.

    Attributes:
        reference: ``name/3`` in the store of evaluations.
        kind: kind of its folds.
        folds: number of folds.
        seeds: number of trainings of each fold.
        trained_with: their seeds; empty in a bundle that was stored before they were.
        accounts: number of traded accounts, one for each path and seed.
        median: number of the path, and the seed, whose account has the lower median of the Sharpe ratios. The bundle
            has the predictions of this path.
        tested: bars that the path trades.
        bars: sha256 of the content of these bars, by symbol.
        spread: distribution of the metrics of the accounts, by metric.
        metrics: metrics of the predictions, each with its ``value``, ``low`` and ``high``.
        account: capital, commission and slippage of the accounts.
        reserve: bars that no training, search or evaluation of the strategy uses; ``None`` without a reserve.
        best_epoch: median of the best epochs of all trainings; the model was trained for as many epochs.
    """

    reference: Annotated[str, Field(pattern=f"^{NAME_PATTERN}/{VERSION_PATTERN}$")]
    kind: Literal["holdout", "walk_forward", "cpcv"]
    folds: Annotated[int, Field(ge=1, strict=True)]
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS, strict=True)]
    trained_with: Annotated[
        tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)], ...], Field(max_length=MOST_SEEDS)
    ] = ()
    accounts: Annotated[int, Field(ge=1, strict=True)]
    median: tuple[Annotated[int, Field(ge=1, strict=True)], Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)]]
    tested: Period
    bars: dict[str, Sha256]
    spread: Numbers
    metrics: Numbers
    account: dict[str, float]
    reserve: Period | None = None
    best_epoch: Annotated[int, Field(ge=0, le=MOST_EPOCHS, strict=True)]

    @property
    def words(self) -> str:
        """Kind and size: ``cpcv of 15 folds x 5 seeds``."""
        folds, seeds = counted(self.folds, "fold"), counted(self.seeds, "seed")
        return f"{self.kind.replace('_', '-')} of {folds} x {seeds}"


class ManifestFields(_Part):
    """The fields of a manifest that training fills in. The store adds the others when it commits the bundle.

    Attributes:
        plugin: the backend that trained the model.
        model_type: the plugin's name of the model type; of an ensemble, that of its members.
        architecture: all parameters of the architecture, as given to the plugin.
        input_size: number of feature columns; never null.
        feature_ids: names of the feature columns, in order.
        window: number of rows that one prediction uses.
        crisp: True if the features are indicator values (``crisp_columns``), False if they are those of
            ``feature_columns``.
        output: ``classification`` or ``regression``.
        classes: class names in label order; empty for regression.
        strategy: the whole strategy, with every override of the run applied.
        data: the training data.
        seed: seed of every random choice.
        environment: the environment of the training run.
        metrics: metrics by part, ``validation`` and ``test``; a part without samples is absent.
        baselines: metrics of the baselines, by name of the baseline and part.
        importance: permutation importance.
        facts: JSON map that the plugin's storage returned; empty for an ensemble, whose members have their own.
        git: commit of the working directory, if it is a git checkout.
        operation: id of the operation that trained the model, if there is one. An operation stores one bundle, however
            many of its attempts finish.
        warnings: sentences on the training data (such as prices that look unadjusted for a split), on samples that are
            too few to train or evaluate, and on baselines that are better than the model; empty in bundles of format 1.
        members: the trainings of an ensemble, in the order of its members' directories, or those with several seeds
            that this model is one of; empty for a single training.
        twin: the portable twin; ``None`` in bundles of formats before 5, and of backends that offer none.
        evaluation: the evaluation that the model was trained from: on all bars before the reserve, for the epochs that
            it says, with the last weights. ``None`` for a training with parts of its own.

    Example:
        >>> import ktrdr.core as kt
        >>> manifest = kt.models.load("neuro_mean_reversion").manifest
        >>> manifest.data.days, sorted(manifest.metrics)
        ('2017-01-01 to 2017-09-29', ['test', 'validation'])
    """

    model_config = ConfigDict(protected_namespaces=())

    plugin: PluginReference
    model_type: Word
    architecture: JsonMap = {}
    input_size: Annotated[int, Field(gt=0, strict=True)]
    feature_ids: Annotated[tuple[str, ...], Field(min_length=1)]
    window: Annotated[int, Field(ge=1, le=LARGEST_WINDOW, strict=True)] = 1
    crisp: bool = False
    output: Literal["classification", "regression"]
    classes: tuple[str, ...] = ()
    strategy: Strategy
    data: DataReference
    seed: int
    environment: Environment
    metrics: JsonMap = {}
    baselines: JsonMap = {}
    importance: Annotated[JsonValue, BeforeValidator(plain_json)] = None
    facts: JsonMap = {}
    git: GitState | None = None
    operation: Word | None = None
    warnings: tuple[Sentence, ...] = ()
    members: tuple[MemberRecord, ...] = ()
    twin: TwinRecord | None = None
    evaluation: EvaluationRecord | None = None

    @property
    def portable(self) -> bool:
        """True if the model predicts with core alone, by its twin."""
        return self.twin is not None and not self.twin.missing

    @property
    def member_directories(self) -> tuple[str, ...]:
        """Directories of an ensemble's members, in order; empty for a model of one training."""
        model = self.strategy.model
        number = model.members.seeds if isinstance(model, EnsembleSection) else 0
        return tuple(member_directory(member) for member in range(1, number + 1))

    @property
    def summary(self) -> str:
        """Model type, backend, data and number of features on one line."""
        inputs = f"{self.input_size:,} input{'' if self.input_size == 1 else 's'}"
        return f"{self.strategy.model.words} trained with {self.plugin.name} on {self.data.summary}, {inputs}"

    def __repr__(self) -> str:
        return short_repr(f"{type(self).__name__}: {self.summary}")

    __str__ = __repr__

    @model_validator(mode="after")
    def _consistent(self) -> ManifestFields:
        if self.input_size != len(self.feature_ids):
            raise ValueError(f"input_size is {self.input_size}, but there are {len(self.feature_ids)} feature ids")
        if len(set(self.feature_ids)) != len(self.feature_ids):
            raise ValueError("feature_ids holds a name twice")
        if (self.output == "classification") != (len(self.classes) >= 2):
            raise ValueError(f"a {self.output} model cannot have {len(self.classes)} classes")
        if self.output != self.strategy.decisions.output_format:
            raise ValueError(f"output is {self.output}, the strategy's is {self.strategy.decisions.output_format}")
        if (places := self.member_directories) and len(places) != len(self.members):
            raise ValueError(f"members lists {len(self.members)}, and the strategy's ensemble has {len(places)}")
        return self


class Manifest(ManifestFields):
    """The content of `manifest.json`.

    Attributes:
        schema_version: :data:`BUNDLE_FORMAT` of the core that wrote it.
        name: name of the model.
        version: version of the model in this store.
        created: when the bundle was committed, UTC.
        origin: ``name/version`` of an imported bundle in the store that trained it; ``None`` if it was trained here.
        files: sha256 of every other file of the bundle, by name; those of an ensemble's members are in directories:
            ``members/01/history.json``.

    Example:
        >>> import ktrdr.core as kt
        >>> manifest = kt.models.load("neuro_mean_reversion").manifest
        >>> manifest.model_type, manifest.output, manifest.classes
        ('mlp', 'classification', ('BUY', 'HOLD', 'SELL'))
    """

    schema_version: Literal[1, 2, 3, 4, 5, 6]
    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    version: Annotated[int, Field(ge=1, le=LARGEST_VERSION, strict=True)]
    created: AwareDatetime
    origin: Annotated[str, Field(pattern=f"^{NAME_PATTERN}/{VERSION_PATTERN}$")] | None = None
    files: dict[FileName, Sha256]

    @property
    def ref(self) -> str:
        """``name/version``, as commands and functions take it."""
        return f"{self.name}/{self.version}"

    @property
    def weights_hash(self) -> str:
        """sha256 (hex) over the names and hashes of the weights files; equal for equal trainings."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            if file_of(name).startswith(WEIGHTS_PREFIX):
                digest.update(f"{name}:{self.files[name]}\n".encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return short_repr(f"Manifest {self.ref}: {self.summary}")

    __str__ = __repr__

    def same_as(self, other: Manifest) -> bool:
        """Compare two manifests; their version, origin and format may differ.

        Args:
            other: the manifest to compare with. Portable twins are compared only if both have one.

        Returns:
            True if both describe the same training and files.
        """
        changes = {"schema_version": BUNDLE_FORMAT, "version": 1, "origin": None}
        mine, theirs = (each.model_copy(update=changes) for each in (self, other))
        if mine.portable != theirs.portable:
            mine, theirs = mine._without_twin(), theirs._without_twin()
        return mine == theirs

    def _without_twin(self) -> Manifest:
        own = twin_files(self.member_directories) if self.portable else ()
        files = {name: digest for name, digest in self.files.items() if name not in own}
        return self.model_copy(update={"twin": None, "files": files})
