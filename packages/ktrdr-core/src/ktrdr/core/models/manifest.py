"""What a bundle says about itself: `manifest.json`, as pydantic models."""

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

from ktrdr.core.data.times import last_day
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.limits import LARGEST_VERSION, LARGEST_WINDOW
from ktrdr.core.names import NAME_PATTERN, VERSION_PATTERN
from ktrdr.core.short_texts import first_words, short_repr
from ktrdr.core.strategy.model import Strategy

__all__ = [
    "BUNDLE_FORMAT",
    "MANIFEST_FILE",
    "WEIGHTS_PREFIX",
    "DataReference",
    "Environment",
    "GitState",
    "Manifest",
    "ManifestFields",
    "Period",
    "PluginReference",
    "SplitBoundaries",
]

BUNDLE_FORMAT = 3
"""Version of the format of bundles: of the manifest, where it stands as ``schema_version``, and of core's other files.

It is raised when a core from before could not read what this one writes. A bundle of a newer format is refused; every
older one is read, and written in this one when it is imported. It does not follow the plugin contract: how core speaks
to a backend does not change what was stored. Format 2 added ``warnings`` and the calendars of the training data, format
3 the ``origin`` of what was imported.
"""

MANIFEST_FILE = "manifest.json"
"""The file that lists the others."""

WEIGHTS_PREFIX = "weights."
"""How at least one file of the backend begins."""


_FILE_NAME = re.compile(NAME_PATTERN + r"(\.[A-Za-z0-9_-]{1,32}){1,3}")


def _file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name) or name == MANIFEST_FILE:
        raise ValueError(f"{name!r} cannot be the name of a file in a bundle")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Names that end up in messages and in `pip install` remedies: nothing but what such a name can be.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,127}$")]
# Printed as it is: nothing that moves the cursor of a terminal.
Sentence = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
# Results as the steps of training return them: numpy numbers become plain ones, those that are not finite null.
JsonMap = Annotated[dict[str, JsonValue], BeforeValidator(plain_json)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PluginReference(_Part):
    """The backend that wrote the weights, and the distribution it came in.

    ``contract`` is the plugin contract of that time, for the record: nothing is refused because of it.
    """

    name: Word
    version: Word
    contract: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}$")]
    distribution: Word


class Period(_Part):
    """A half-open span of time, UTC: from the open of the first bar to the close of the last."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> Period:
        if self.end < self.start:
            raise ValueError(f"the period ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()})")
        return self


class SplitBoundaries(_Part):
    """The parts of one symbol's bars; ``None`` for a part that is empty."""

    train: Period
    validation: Period | None = None
    test: Period | None = None


class DataReference(_Part):
    """The market data a model was trained on.

    Attributes:
        fingerprint: sha256 of the content of the bars.
        symbols, timeframes, base_timeframe: as in the strategy.
        start, end: of the bars used: open of the first, close of the last, UTC.
        rows: base bars per symbol.
        split: parts per symbol.
        calendars: of the market, by symbol; empty in bundles of format 1.
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

    @property
    def days(self) -> str:
        """First and last day of the bars used: ``2017-01-01 to 2017-09-29``, UTC."""
        return f"{self.start:%Y-%m-%d} to {last_day(self.end)}"

    @property
    def summary(self) -> str:
        """Symbols, timeframes and days on one line: ``EURUSD 1h, 2017-01-01 to 2017-09-29``."""
        return f"{first_words(self.symbols)} {first_words(self.timeframes)}, {self.days}"

    def __repr__(self) -> str:
        return short_repr(f"{type(self).__name__} {self.summary}")

    __str__ = __repr__


class Environment(_Part):
    """Where training ran. ``packages`` maps distribution to version."""

    python: Sentence
    platform: Sentence
    packages: dict[Sentence, Sentence] = {}


class GitState(_Part):
    """The checkout training ran from."""

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{4,64}$")]
    dirty: bool


class ManifestFields(_Part):
    """What training knows about a model. The store adds the rest when it commits the bundle.

    Attributes:
        plugin: the backend that trained it.
        model_type: as the plugin calls it.
        architecture: complete, as given to the plugin.
        input_size: number of feature columns; never null.
        feature_ids: names of those columns, in order.
        window: rows one prediction looks at.
        crisp: True if the features are the crisp values of ``crisp_columns``, False for those of ``feature_columns``.
        output, classes: what it predicts; classes in label order, empty for regression.
        strategy: the whole strategy, with every override of the run in it.
        data: what it was trained on.
        seed: of every random choice.
        environment: where it was trained.
        metrics: ``validation`` and ``test`` (the latter absent where there is no such part).
        baselines: metrics of the baselines beside the model, by name.
        importance: permutation importance.
        facts: what the plugin's storage returned.
        git: the checkout, if there was one.
        operation: id of the operation that trained it, if there was one. One operation leaves one bundle, however many
            attempts at it come to an end.
        warnings: sentences on the data it was trained on, such as that prices look as if they were not adjusted for a
            split, on what was too little to learn or to judge by, and on baselines that are better; none in bundles of
            format 1.
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

    @property
    def summary(self) -> str:
        """Model type, backend, data and number of features on one line."""
        inputs = f"{self.input_size:,} input{'' if self.input_size == 1 else 's'}"
        return f"{self.model_type} trained with {self.plugin.name} on {self.data.summary}, {inputs}"

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
        return self


class Manifest(ManifestFields):
    """`manifest.json`.

    Attributes:
        schema_version: :data:`BUNDLE_FORMAT` of the core that wrote it.
        name, version: where the bundle stands in the store.
        created: when it was committed, UTC.
        origin: ``name/version`` of an imported bundle in the store that trained it; ``None`` where it was trained here.
        files: sha256 of every file beside the manifest, by name.
    """

    schema_version: Literal[1, 2, 3]
    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    version: Annotated[int, Field(ge=1, le=LARGEST_VERSION, strict=True)]
    created: AwareDatetime
    origin: Annotated[str, Field(pattern=f"^{NAME_PATTERN}/{VERSION_PATTERN}$")] | None = None
    files: dict[FileName, Sha256]

    @property
    def ref(self) -> str:
        """``name/version``: what commands take."""
        return f"{self.name}/{self.version}"

    @property
    def weights_hash(self) -> str:
        """sha256 over names and hashes of the weights files: equal for equal trainings."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            if name.startswith(WEIGHTS_PREFIX):
                digest.update(f"{name}:{self.files[name]}\n".encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return short_repr(f"Manifest {self.ref}: {self.summary}")

    __str__ = __repr__

    def same_as(self, other: Manifest) -> bool:
        """Return True if both are of one training and its files, wherever and under whichever numbers they stand."""
        mine, theirs = (
            each.model_copy(update={"schema_version": BUNDLE_FORMAT, "version": 1, "origin": None})
            for each in (self, other)
        )
        return mine == theirs
