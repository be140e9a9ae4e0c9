"""A trained model on disk, whose files are checked before they are used."""

from __future__ import annotations

import hashlib
import html
import math
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.reading import FileError, parse_json, read_plain, sha256_of
from ktrdr.core.inference.twin_names import twin_files
from ktrdr.core.jobs.job_settings import Inference
from ktrdr.core.limits import (
    LARGEST_BUNDLE_FILE,
    LARGEST_JSON,
    LARGEST_MANIFEST,
    LARGEST_OUT_OF_SAMPLE,
    LARGEST_VERSION,
    MOST_BUNDLE_FILES,
    MOST_MANIFEST_VALUES,
)
from ktrdr.core.models.contents import BundleError, check_file, check_together
from ktrdr.core.models.cross_check import (
    HISTORY_FILE,
    NORMALIZERS_FILE,
    STRATEGY_FILE,
    cross_check,
    read_files,
    same_distribution,
)
from ktrdr.core.models.ensemble_predictor import ensemble_predictor
from ktrdr.core.models.inference_choice import choose_inference
from ktrdr.core.models.manifest import BUNDLE_FORMAT, MANIFEST_FILE, MEMBERS_DIRECTORY, WEIGHTS_PREFIX, Manifest
from ktrdr.core.models.model_facts import model_facts, score_facts
from ktrdr.core.models.out_of_sample import OUT_OF_SAMPLE_FILE, OutOfSample, read_out_of_sample
from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins.contract import EpochRecord, ModelLoader, Predictor, RuleBased
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.short_texts import short_repr
from ktrdr.core.strategy.model import EnsembleSection, Strategy

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "HISTORY_FILE",
    "NORMALIZERS_FILE",
    "STRATEGY_FILE",
    "Bundle",
    "BundleError",
    "UnfitPluginError",
    "check_contents",
    "found_files",
    "parse_manifest",
    "read_bundle",
]

_MOST_TOLD = 5
# By whether they are crisp.
_INPUTS = {True: "indicator values", False: "fuzzy features"}


class UnfitPluginError(BundleError):
    """The installed plugin cannot have made the bundle, or does not have its model type any more."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A stored model: its manifest and the directory of its files.

    The manifest has been checked; :meth:`verify` checks the other files, and :meth:`load_predictor` checks them before
    it reads them. Only loading may import an ML framework: of a model without a portable twin, or if that is asked for.

    Attributes:
        directory: where the files are.
        manifest: everything known about the model: strategy, data, metrics, hashes of the files.

    Example:
        >>> import ktrdr.core as kt
        >>> bundle = kt.models.load("neuro_mean_reversion")
        >>> bundle.ref, bundle.manifest.input_size
        ('neuro_mean_reversion/1', 18)
    """

    directory: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return short_repr(f"Bundle {self.ref}: {self.manifest.summary}")

    def _repr_html_(self) -> str:
        facts = [
            *model_facts(self.manifest),
            ("features", f"{self.manifest.input_size:,}"),
            *score_facts(self.manifest),
        ]
        rows = "".join(f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>" for label, text in facts)
        return f"<table>{rows}</table>"

    @property
    def ref(self) -> str:
        """``name/version``."""
        return self.manifest.ref

    @property
    def strategy(self) -> Strategy:
        """The strategy the model was trained with, with every override of that run applied."""
        return self.manifest.strategy

    @property
    def strategy_text(self) -> str:
        """The strategy file as the user wrote it. The model trades :attr:`strategy`, which includes overrides."""
        return self._read(STRATEGY_FILE).decode("utf-8")

    def normalizers(self) -> dict[str, Any]:
        """Return the normalizers as JSON map, as ``FeaturePipeline.with_normalizers`` takes them."""
        found: dict[str, Any] = parse_json(self._read(NORMALIZERS_FILE), NORMALIZERS_FILE)
        return found

    def history(self, member: int | None = None) -> tuple[EpochRecord, ...]:
        """Return the metrics of the epochs of training.

        Args:
            member: number of a member of an ensemble, from 1; None for a model of one training.

        Returns:
            The epochs in order; NaN stands for a metric that was not finite. Empty for an ensemble without ``member``,
            as its members were trained one by one.

        Raises:
            BadInputError: there is no such member.
            BundleError: the file is broken or was changed.
        """
        places = self.manifest.member_directories
        if member is None and places:
            return ()
        if member is not None and not 1 <= member <= len(places):
            has = f"members 1 to {len(places)}" if places else "no members: leave `member` out"
            raise BadInputError(f"model {self.ref} has no member {member}; it has {has}")
        name = HISTORY_FILE if member is None else f"{places[member - 1]}/{HISTORY_FILE}"
        records = parse_json(self._read(name), name)
        try:
            return tuple(
                EpochRecord(
                    int(record["epoch"]),
                    {key: math.nan if value is None else float(value) for key, value in record["metrics"].items()},
                )
                for record in records
            )
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
            raise BundleError(f"model {self.ref}: {name} is not a list of epochs") from None

    def verify(self) -> None:
        """Check everything that can be checked without the plugin.

        The files must be exactly those of the manifest, with the same hashes, plain files, each of a kind that cannot
        hold code; and they must agree with the manifest: see :func:`~ktrdr.core.models.cross_check.cross_check`. The
        portable twin must be one that this core can predict with, and out-of-sample predictions those of its symbols.

        Raises:
            BundleError: a file is wrong, or files contradict each other. The message names the first wrong file, or
                the contradictions.
        """
        self.verify_files()
        if self.manifest.evaluation is not None:
            self._read_out_of_sample()
        if self.manifest.portable:
            for twin in self._load_twins():
                if isinstance(twin, RuleBased):
                    with self._refused():
                        twin.rules()
            self.probes()

    def verify_files(self) -> None:
        """Check what :meth:`verify` does, except for the layers of the portable twin and out-of-sample predictions.

        Raises:
            BundleError: a file is wrong, or files contradict each other.
        """
        with self._refused():
            check_contents(self.directory, self.manifest, but=read_files(self.manifest))
            findings = cross_check(self.manifest, self._content)
        if findings:
            more = f"; and {len(findings) - _MOST_TOLD} more" if len(findings) > _MOST_TOLD else ""
            raise BundleError(f"model {self.ref} is refused: {'; '.join(findings[:_MOST_TOLD])}{more}")

    def load_predictor(self, plugins: PluginManager, device: str = "auto", inference: Inference = "auto") -> Predictor:
        """Check the bundle and load it for prediction: its portable twin, or by the plugin that fits it.

        Args:
            plugins: the installed backends; a portable twin needs none.
            device: ``"auto"`` or the name of a device of the plugin.
            inference: what predicts, see :func:`~ktrdr.core.models.inference_choice.choose_inference`.

        Returns:
            The predictor: float32 ``(n, features)`` to probabilities or values.

        Raises:
            BundleError: the bundle is broken, or does not fit the plugin.
            PluginError: the plugin is needed, and is not installed or cannot be used.
            BadInputError: there is no such device, or no twin.
        """
        members = self.load_members(plugins, device, inference)
        model = self.strategy.model
        return ensemble_predictor(members, model.vote) if isinstance(model, EnsembleSection) else members[0]

    def load_members(
        self, plugins: PluginManager, device: str = "auto", inference: Inference = "auto"
    ) -> list[Predictor]:
        """Check the bundle and load the members of an ensemble, or the model as its only member.

        Args:
            plugins: the installed backends; a portable twin needs none.
            device: ``"auto"`` or the name of a device of the plugin.
            inference: what predicts, see :func:`~ktrdr.core.models.inference_choice.choose_inference`.

        Returns:
            One predictor for each training.

        Raises:
            BundleError: the bundle is broken, or does not fit the plugin.
            PluginError: the plugin is needed, and is not installed or cannot be used.
            BadInputError: there is no such device, or no twin.
        """
        used = choose_inference(self.manifest, inference, device)
        self.verify_files()
        return self._load_twins() if used == "portable" else self._load_native(plugins, device)

    def probes(self) -> np.ndarray:
        """Return the rows that the twin was compared with the backend on, float32 ``(n, features)``.

        Raises:
            BundleError: the file is broken.
        """
        from ktrdr.core.models.twins import read_probes

        with self._refused():
            return read_probes(self.directory, self.manifest)

    def out_of_sample(self) -> dict[str, OutOfSample]:
        """Check the bundle, and return the out-of-sample predictions of the evaluation it was trained from.

        Returns:
            Predictions of each symbol on the median path, by symbol.

        Raises:
            BadInputError: the model was not trained from an evaluation.
            BundleError: the bundle is broken.
        """
        if self.manifest.evaluation is None:
            raise BadInputError(
                f"model {self.ref} was not trained from an evaluation, so it has no out-of-sample predictions; train it"
                " with `ktrdr train --from EVALUATION`"
            )
        self.verify_files()
        return self._read_out_of_sample()

    def _read_out_of_sample(self) -> dict[str, OutOfSample]:
        with self._refused():
            return read_out_of_sample(self.directory, self.manifest)

    def _load_twins(self) -> list[Predictor]:
        # The vocabulary and its layers are imported only where a twin is read.
        from ktrdr.core.models.twins import load_twins

        with self._refused():
            return load_twins(self.directory, self.manifest)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """Convert an error about a file in the block into one that names the model."""
        try:
            yield
        except FileError as error:
            raise BundleError(f"model {self.ref} is refused: {error}") from error

    def _load_native(self, plugins: PluginManager, device: str) -> list[Predictor]:
        reference = self.manifest.plugin
        info = plugins.info(reference.name)
        distribution = plugins.record(reference.name).distribution
        if not same_distribution(distribution, reference.distribution):
            raise UnfitPluginError(
                f"model {self.ref} is refused: it was made by plugin `{reference.name}` of {reference.distribution}, "
                f"the one installed is of {distribution}; install {reference.distribution} in its place"
            )
        offered = {model_type.name: model_type for model_type in info.model_types}.get(self.manifest.model_type)
        if offered is None or self.manifest.output not in offered.outputs:
            raise UnfitPluginError(
                f"model {self.ref} is refused: plugin `{info.name}` {info.version} has no {self.manifest.output} "
                f"model type `{self.manifest.model_type}`; it was made with version {reference.version}"
            )
        # Keys of another version of the plugin are left to its loader.
        known = {parameter.name for parameter in offered.architecture}
        given = {
            name: value for name, value in self.manifest.architecture.items() if name in known and value is not None
        }
        complete, problems = validate_parameters(given, offered.architecture)
        if problems:
            raise BundleError(
                f"model {self.ref} is refused: {MANIFEST_FILE} is wrong in `architecture`: {problems[0].message}"
            )
        window = 1 if offered.window_parameter is None else complete[offered.window_parameter]
        if self.manifest.window != window:
            raise BundleError(
                f"model {self.ref} is refused: {MANIFEST_FILE} says {self.manifest.window:,} for `window`, its "
                f"`architecture` {window:,}"
            )
        if self.manifest.crisp != (offered.inputs == "crisp"):
            raise UnfitPluginError(
                f"model {self.ref} is refused: `{offered.name}` of plugin `{info.name}` {info.version} takes "
                f"{_INPUTS[offered.inputs == 'crisp']}, the model was trained on {_INPUTS[self.manifest.crisp]}"
            )
        loader = plugins.loader(reference.name)
        return [self._load(loader, place, device) for place in self.manifest.member_directories or ("",)]

    def _load(self, loader: ModelLoader, place: str, device: str) -> Predictor:
        """Load the files in ``place``, the directory of a member or an empty text."""
        which = f"model {self.ref}" + (f", {place}," if place else "")
        try:
            predictor = loader.load(self.directory / place, device)
        except BundleError as error:
            if not place:
                raise
            raise BundleError(f"{which} is refused: {error}") from error
        wanted = (self.manifest.input_size, self.manifest.window)
        if (predictor.input_size, predictor.window) != wanted:
            raise BundleError(
                f"{which} is refused: its weights are for {predictor.input_size} features and a window of "
                f"{predictor.window}, its manifest says {wanted[0]} and {wanted[1]}"
            )
        return predictor

    def _read(self, name: str) -> bytes:
        with self._refused():
            return self._content(name)

    def _content(self, name: str) -> bytes:
        content = read_plain(self.directory / name, LARGEST_JSON)
        # Hash the bytes that were read: the file could change between two reads.
        if hashlib.sha256(content).hexdigest() != self.manifest.files.get(name):
            raise BundleError(f"{name} was changed after it was saved")
        return content


def read_bundle(directory: Path, *, name: str, version: int) -> Bundle:
    """Return the bundle ``name/version`` in ``directory``. Only its manifest is read.

    Raises:
        BundleError: there is no manifest, it is not valid, or it is the manifest of another model.
    """
    try:
        if version > LARGEST_VERSION:
            raise BundleError(f"a version is at most {LARGEST_VERSION:,}; move {directory} out of the store")
        if directory.is_symlink() or not directory.is_dir():
            raise BundleError("it is not a directory of the model store")
        manifest = parse_manifest(read_plain(directory / MANIFEST_FILE, LARGEST_MANIFEST))
        if (manifest.name, manifest.version) != (name, version):
            raise BundleError(f"{MANIFEST_FILE} belongs to {manifest.ref}")
    except FileError as error:
        raise BundleError(f"model {name}/{version} is refused: {error}") from error
    return Bundle(directory, manifest)


def parse_manifest(content: bytes) -> Manifest:
    """Return the manifest in ``content``.

    Raises:
        BundleError: it is not valid, or of a newer format; the message says which.
    """
    value = parse_json(content, MANIFEST_FILE, most=MOST_MANIFEST_VALUES)
    if not isinstance(value, dict):
        raise BundleError(f"{MANIFEST_FILE} is not a map")
    written = value.get("schema_version")
    if isinstance(written, int) and written > BUNDLE_FORMAT:
        raise BundleError(
            f"it has bundle format {written}, this core reads up to {BUNDLE_FORMAT}; "
            "update core with `pip install --upgrade ktrdr-core`"
        )
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        place = f" at {where}" if where else ""
        raise BundleError(f"{MANIFEST_FILE} is not valid{place}: {first['msg']}{more}") from None
    except RecursionError:
        raise BundleError(f"{MANIFEST_FILE} is nested too deeply") from None


def check_contents(directory: Path, manifest: Manifest, *, but: Collection[str] = ()) -> None:
    """Check that ``directory`` holds exactly the files the manifest names, unchanged and of harmless kinds.

    Args:
        directory: directory of the bundle.
        manifest: manifest of the bundle.
        but: files whose kind is not checked here, because the caller parses them.

    Raises:
        BundleError: a file is wrong; the message names the first one.
    """
    members = manifest.member_directories
    expected = set(manifest.files)
    found = found_files(directory, members)
    own = _core_files(members)
    if manifest.evaluation is not None:
        own |= {OUT_OF_SAMPLE_FILE}
    elif OUT_OF_SAMPLE_FILE in expected:
        raise BundleError(f"{OUT_OF_SAMPLE_FILE} belongs to no evaluation, as the manifest names none")
    if manifest.portable:
        own |= twin_files(members)
    else:
        # Written by a process that was killed before it could add them to the manifest; nothing reads them.
        left = found & twin_files(members) - expected
        found -= {name for name in left if stat.S_ISREG((directory / name).lstat().st_mode)}
    if extra := sorted(found - expected):
        # If its kind is forbidden, that is the more important message.
        if (directory / extra[0]).is_file() and not (directory / extra[0]).is_symlink():
            _check_kind(directory, extra[0])
        raise BundleError(f"{extra[0]} is not in the manifest")
    if missing := sorted((expected | own) - found):
        raise BundleError(f"{missing[0]} is missing")
    for place in members or ("",):
        prefix = f"{place}/{WEIGHTS_PREFIX}" if place else WEIGHTS_PREFIX
        if not any(name.startswith(prefix) for name in expected):
            raise BundleError(f"there is no {prefix}* file")
    if members and (strange := sorted(name for name in expected - own if "/" not in name)):
        raise BundleError(f"{strange[0]} belongs to no member of the ensemble")
    if len(expected) > MOST_BUNDLE_FILES:
        raise BundleError(f"it holds {len(expected)} files, more than the {MOST_BUNDLE_FILES} allowed")
    check_together(directory / name for name in sorted(expected))
    for name in sorted(expected):
        # A file that is too large is not worth the seconds that its hash takes.
        limit = LARGEST_OUT_OF_SAMPLE if name == OUT_OF_SAMPLE_FILE else LARGEST_BUNDLE_FILE
        if sha256_of(directory / name, limit) != manifest.files[name]:
            raise BundleError(f"{name} was changed after it was saved: its sha256 is not the manifest's")
        if name not in but:
            _check_kind(directory, name)


def found_files(directory: Path, members: Sequence[str]) -> set[str]:
    """Return the names of everything in a bundle but its manifest.

    Args:
        directory: directory of the bundle.
        members: directories of the members; their files are returned in place of them. Any other directory, and a link,
            is returned by its name.
    """
    found: set[str] = set()
    for place in ("", *(MEMBERS_DIRECTORY for _ in members[:1]), *members):
        above = place.rpartition("/")[0]
        if place and (place not in found or above in found or not _is_directory(directory / place)):
            continue
        with os.scandir(directory / place) as entries:
            found |= {f"{place}/{entry.name}" if place else entry.name for entry in entries}
        found.discard(place)
    return found - {MANIFEST_FILE}


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _core_files(members: Sequence[str]) -> frozenset[str]:
    """Return the names of the files that core writes into a bundle."""
    histories = (f"{place}/{HISTORY_FILE}" for place in members) if members else (HISTORY_FILE,)
    return frozenset({STRATEGY_FILE, NORMALIZERS_FILE, *histories})


def _check_kind(directory: Path, name: str) -> None:
    """Check the kind of a file; the message names the directory of a member, too."""
    try:
        check_file(directory / name)
    except BundleError as error:
        if "/" not in name:
            raise
        raise BundleError(f"in {name.rpartition('/')[0]}: {error}") from error
