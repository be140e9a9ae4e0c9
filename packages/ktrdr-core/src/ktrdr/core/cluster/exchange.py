"""Exchange of inputs, checkpoints and results between API and workers through an object store.

It is for an API and workers that share no directory. Below ``operations/<id>/``, the store has for each operation:

- ``inputs.json``: its data sets and its model or evaluation, as they were when it was first handed out, so that every
  attempt has the same inputs. The files themselves are stored once, below ``data/``, ``models/`` and ``evaluations/``,
  under names that identify their content.
- ``checkpoints/<number>-<attempt>.zip``: one object per checkpoint. The next attempt resumes from the checkpoint with
  the highest number, whichever attempt wrote it.
- ``members/<number>-<attempt>.zip``: finished members of a training with several seeds or of an evaluation, each in one
  object, which all attempts share.
- ``logs/<attempt>.zip``: the finished worlds of a verdict. The next attempt resumes from those of the newest attempt.
- ``model.zip``, ``run.zip``, ``evaluation.zip`` or ``verdict.zip``: the result; beside that of a verdict is that of its
  evaluation. The API adds it to its own stores, all but a run only once per operation.

A worker runs each operation in a home directory of its own, which contains only these inputs and is removed at the end.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktrdr.core.cluster.object_store import ObjectStore, store_url
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.dataset_manifest import MANIFEST, read_manifest
from ktrdr.core.errors import BadInputError, KtrdrError, StoreError
from ktrdr.core.files.archives import ArchiveLimits, files_below, open_archive, write_archive
from ktrdr.core.files.durable import new_directory
from ktrdr.core.files.reading import FileError
from ktrdr.core.files.result_archive import pack_result, unpack_result
from ktrdr.core.files.temporary import temporary_directory
from ktrdr.core.home import home_directory
from ktrdr.core.models.apart import import_apart
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.training.stored_members import MEMBERS, member_directories
from ktrdr.core.trials.trial_count import TrialCount

__all__ = ["DELIVERED", "CheckpointKeeper", "Exchange"]

DELIVERED = "delivered"
"""Key of a result that names what the worker put into the store: ``model``, ``run``, ``evaluation`` or ``verdict``."""

_INPUTS = "inputs.json"
_MODEL = "model.zip"
_RESULTS = {"training": "model", "backtest": "run", "evaluation": "evaluation", "verdict": "verdict"}
"""What a worker delivers, by kind of job; the key of a result with the name of it."""
_LOGS = "logs"
_CHECKPOINT = re.compile(r"checkpoint-(\d{8})")
_CHECKPOINT_LIMITS = ArchiveLimits(files=1000, size=16 * 2**30, depth=8)
_TRIES = 20


class Exchange:
    """Access of the API and of workers to one object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def from_environment(cls) -> Exchange | None:
        """Return the exchange in the store of ``KTRDR_STORE``; ``None`` if the variable is not set.

        Raises:
            BadInputError: the variable is not an address of a store, or the library for it is missing.
        """
        url = store_url()
        return None if url is None else cls(ObjectStore(url))

    # Methods for the API.

    def provide(self, operation: str, job: Mapping[str, Any]) -> None:
        """Put the inputs of an operation into the store, unless an earlier attempt already has.

        Raises:
            BadInputError: the model, the evaluation or the strategy has become unusable since the operation was queued.
            OSError: the store does not answer.
        """
        if self._store.has(_of(operation, _INPUTS)):
            return
        bundle = ModelStore(home_directory() / "models").get(job["model"]) if "model" in job else None
        evaluation = job.get("evaluation")
        symbols = _symbols(job, bundle)
        inputs = {
            "data": [entry for symbol in symbols for entry in self._provide_data(symbol)],
            "model": None if bundle is None else self._provide_model(bundle),
            "evaluation": None if evaluation is None else [evaluation, self._provide_evaluation(evaluation)],
        }
        self._store.put(_of(operation, _INPUTS), json.dumps(inputs).encode())

    def take_in(self, operation: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Add the result of a worker to the stores of this home, and return it with its names and paths here.

        Before this call, the trials of the result must be recorded and counted. A model, an evaluation and a verdict
        are added only once per operation, even if this is called several times.

        Raises:
            KtrdrError: the files of the result are damaged, or the worker put none into the store.
            OSError: the store does not answer.
        """
        own = dict(result)
        delivered = own.pop(DELIVERED, None)
        if delivered is None:
            raise BadInputError(
                "the worker has put no result into the object store; start it with the same KTRDR_STORE as the API"
            )
        with temporary_directory("ktrdr-") as folder:
            if delivered == "model":
                return own | self._take_model(operation, folder, own["weights_hash"])
            self._unpack(operation, delivered, folder)
            if delivered == "evaluation":
                return own | _take_evaluation(operation, folder / delivered, own)
            if delivered == "verdict":
                if own["evaluation"] is not None:
                    self._unpack(operation, "evaluation", folder)
                return own | _take_verdict(operation, folder, own)
            return own | _take_run(folder / delivered, own)

    # Methods for a worker.

    @contextmanager
    def home(self, operation: str) -> Iterator[Path]:
        """Yield a temporary directory with the inputs of an operation, in the layout of ``KTRDR_HOME``.

        Raises:
            BadInputError: the API has not provided inputs.
            OSError: the store does not answer.
        """
        content = self._store.get(_of(operation, _INPUTS))
        if content is None:
            raise BadInputError(
                "the object store has no inputs of this operation; start the API with the same KTRDR_STORE as the"
                " worker"
            )
        inputs = json.loads(content)
        root = home_directory() / "work"
        root.mkdir(parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix=f"{operation}-", dir=root))
        try:
            for entry in inputs["data"]:
                directory = home / "data" / entry["symbol"] / entry["timeframe"]
                directory.mkdir(parents=True)
                for name in entry["files"]:
                    self._store.get_file(f"data/{entry['symbol']}/{entry['timeframe']}/{name}", directory / name)
                (directory / MANIFEST).write_text(entry["manifest"], encoding="utf-8")
            if inputs["model"] is not None:
                archive = home / "model.zip"
                self._store.get_file(inputs["model"], archive)
                import_bundle(ModelStore(home / "models"), archive, own=True, keep_number=True)
                archive.unlink()
            if inputs.get("evaluation") is not None:
                name, place = inputs["evaluation"]
                archive = home / "evaluation.zip"
                self._store.get_file(place, archive)
                unpack_result(archive, home / "evaluations" / name, "evaluation")
                archive.unlink()
            yield home
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def restore_checkpoint(self, operation: str, home: Path) -> None:
        """Copy what all attempts have left to ``home``, where a training resumes from it.

        That is the newest checkpoint, if any, the finished members of a training with several seeds, and the finished
        worlds of a verdict.
        """
        archive = home / "checkpoint.zip"
        newest = [name for kind in ("checkpoints", _LOGS) for name in self._store.names(_of(operation, kind))[-1:]]
        names = newest + self._store.names(_of(operation, MEMBERS))
        for name in names:
            self._store.get_file(name, archive)
            try:
                with open_archive(archive, _CHECKPOINT_LIMITS) as opened:
                    opened.extract(home / "checkpoints")
            except FileExistsError:
                continue  # two attempts have finished the same member, and it is the same model
            except FileError as error:
                raise KtrdrError(f"the checkpoint in the object store is damaged: {error}") from None
            finally:
                archive.unlink()

    def keep_checkpoint(self, operation: str, attempt: int, directory: Path) -> None:
        """Put a checkpoint into the store, and remove the previous one of the same attempt."""
        match = _CHECKPOINT.fullmatch(directory.name)
        assert match is not None
        name = _of(operation, f"checkpoints/{match[1]}-{attempt:04d}.zip")
        self._put_directory(name, directory, directory.parent.parent)
        for other in self._store.names(_of(operation, "checkpoints")):
            if other < name and other.endswith(f"-{attempt:04d}.zip"):
                self._store.delete(other)

    def keep_member(self, operation: str, attempt: int, directory: Path) -> None:
        """Put a finished member of a training with several seeds into the store."""
        name = _of(operation, f"{MEMBERS}/{directory.name}-{attempt:04d}.zip")
        self._put_directory(name, directory, directory.parents[2])

    def keep_logs(self, operation: str, attempt: int, files: Iterable[Path], root: Path) -> None:
        """Put files that only grow into the store, in place of what they were before."""
        self._put_files(_of(operation, f"{_LOGS}/{attempt:04d}.zip"), files, root)

    def _put_directory(self, name: str, directory: Path, root: Path) -> None:
        """Put the files of ``directory`` into the store as one archive, with their paths below ``root``."""
        self._put_files(name, [directory / name for name in files_below(directory)], root)

    def _put_files(self, name: str, files: Iterable[Path], root: Path) -> None:
        with temporary_directory("ktrdr-") as folder:
            archive = folder / "checkpoint.zip"
            write_archive(archive, root, [str(path.relative_to(root)) for path in files], _CHECKPOINT_LIMITS)
            self._store.put_file(name, archive)

    def deliver(self, operation: str, kind: str, home: Path, result: Mapping[str, Any]) -> dict[str, Any]:
        """Put the files of an operation's result into the store, and return the result for the API.

        If the store does not answer, this tries again for a few minutes, because the result may have taken hours.
        """
        for wait in (5, 10, 20, 40, 80):
            try:
                return self._deliver(operation, kind, home, result)
            except (OSError, StoreError) as error:
                print(
                    f"ktrdr worker: the result could not be put into the object store, trying again: {error}",
                    file=sys.stderr,
                )
                time.sleep(wait)
        return self._deliver(operation, kind, home, result)

    def _deliver(self, operation: str, kind: str, home: Path, result: Mapping[str, Any]) -> dict[str, Any]:
        own = {key: value for key, value in result.items() if key != "directory"}
        with temporary_directory("ktrdr-") as folder:
            delivered = _RESULTS[kind]
            names = {delivered: own[delivered]}
            if delivered == "verdict" and own["evaluation"] is not None:
                names = {"evaluation": own["evaluation"]["evaluation"], **names}
            for part, name in names.items():
                archive = folder / f"{part}.zip"
                if part == "model":
                    export_bundle(ModelStore(home / "models"), name, archive)
                else:
                    pack_result(home / f"{part}s" / name, archive)
                self._store.put_file(_of(operation, archive.name), archive)
        for kind in ("checkpoints", MEMBERS, _LOGS):
            for name in self._store.names(_of(operation, kind)):
                self._store.delete(name)
        return own | {DELIVERED: delivered}

    # Helpers.

    def _provide_data(self, symbol: str) -> Iterator[dict[str, Any]]:
        root = home_directory() / "data"
        for info in BarStore(root).datasets():
            if info.symbol == symbol:
                yield self._provide_dataset(root / symbol / info.timeframe, symbol, info.timeframe)

    def _provide_dataset(self, directory: Path, symbol: str, timeframe: str) -> dict[str, Any]:
        """Put a data set into the store and return its entry in ``inputs.json``.

        Files of a data set never change. If a write replaces them by other files during the copy, the copy starts
        again.
        """
        for _ in range(_TRIES):
            manifest = read_manifest(directory)
            if manifest is None:
                break
            names = [file.name for file in manifest.files.values()]
            try:
                for name in names:
                    target = f"data/{symbol}/{timeframe}/{name}"
                    if not self._store.has(target):
                        self._store.put_file(target, directory / name)
            except FileNotFoundError:
                continue
            return {"symbol": symbol, "timeframe": timeframe, "files": names, "manifest": manifest.to_json()}
        raise BadInputError(
            f"the bars of {symbol} {timeframe} were replaced each time they were copied; try again later"
        )

    def _provide_model(self, bundle: Bundle) -> str:
        with temporary_directory("ktrdr-") as folder:
            archive = export_bundle(ModelStore(bundle.directory.parents[1]), bundle.ref, folder / _MODEL)
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            name = f"models/{bundle.manifest.name}-{bundle.manifest.version}-{digest}.zip"
            if not self._store.has(name):
                self._store.put_file(name, archive)
        return name

    def _take_model(self, operation: str, place: Path, weights_hash: str) -> dict[str, Any]:
        store = ModelStore(home_directory() / "models")
        bundle = _model_of(store, operation)
        if bundle is None:
            self._store.get_file(_of(operation, _MODEL), place / _MODEL)
            bundle = store.get(import_apart(store.root, place / _MODEL, own=True)[0])
        if (bundle.manifest.operation, bundle.manifest.weights_hash) != (operation, weights_hash):
            raise KtrdrError(f"the model in the object store is not the one of operation {operation}; run it again")
        return {"model": bundle.ref, "directory": str(bundle.directory)}

    def _provide_evaluation(self, evaluation: str) -> str:
        from ktrdr.core.evaluations.evaluation_store import EVALUATIONS

        with temporary_directory("ktrdr-") as folder:
            archive = folder / "evaluation.zip"
            pack_result(EVALUATIONS.directory(evaluation), archive)
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            name = f"evaluations/{evaluation.replace('/', '-')}-{digest}.zip"
            if not self._store.has(name):
                self._store.put_file(name, archive)
        return name

    def _unpack(self, operation: str, delivered: str, place: Path) -> None:
        """Write the files of a result that is not a model to ``place``, below the name of its kind."""
        if delivered not in _RESULTS.values():
            raise BadInputError(f"the worker has put a result of the unknown kind `{delivered}` into the object store")
        archive = place / f"{delivered}.zip"
        self._store.get_file(_of(operation, archive.name), archive)
        unpack_result(archive, place / delivered, delivered)


class CheckpointKeeper:
    """Puts every new checkpoint, finished member and finished world of what runs in ``home`` into the store."""

    def __init__(self, exchange: Exchange, operation: str, attempt: int, home: Path) -> None:
        self._keep: Callable[[Path], None] = lambda path: exchange.keep_checkpoint(operation, attempt, path)
        self._keep_member: Callable[[Path], None] = lambda path: exchange.keep_member(operation, attempt, path)
        self._keep_logs: Callable[[Iterable[Path]], None] = lambda files: exchange.keep_logs(
            operation, attempt, files, home / "checkpoints"
        )
        self._root = home / "checkpoints"
        self._kept = self._newest()
        self._members = set(self._finished())
        self._logs = self._grown()

    def keep(self) -> None:
        """Put what is new into the store: finished members and worlds, and the newest checkpoint.

        If the store does not answer, the next call puts a member there, and a later checkpoint in place of this one.
        """
        try:
            for member in self._finished():
                if member not in self._members:
                    self._keep_member(member)
                    self._members.add(member)
            newest = self._newest()
            if newest is not None and newest != self._kept:
                self._keep(newest)
                self._kept = newest
            if (logs := self._grown()) != self._logs:
                self._keep_logs(logs)
                self._logs = logs
        except (OSError, StoreError) as error:
            print(f"ktrdr worker: a checkpoint could not be put into the object store: {error}", file=sys.stderr)

    def _finished(self) -> list[Path]:
        return [member for run in self._root.glob("*") for member in member_directories(run)]

    def _grown(self) -> dict[Path, int]:
        """Return the size of each file that only grows."""
        return {path: path.stat().st_size for path in sorted(self._root.glob("*/*.jsonl"))}

    def _newest(self) -> Path | None:
        found = [path for path in self._root.glob("*/checkpoint-*") if _CHECKPOINT.fullmatch(path.name)]
        return max(found, key=lambda path: path.name, default=None)


def _take_run(files: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    from ktrdr.core.backtesting.results import read_result, recount
    from ktrdr.core.runs.run_store import claim_run, run_name

    if result.get("trial_count") is not None:
        # The worker counted its own trials only, as its ledger had no others.
        recount(files, result["metrics"], TrialCount.from_json(result["trial_count"]))
    directory = claim_run(read_result(files))
    with new_directory(directory) as copy:
        shutil.copytree(files, copy, dirs_exist_ok=True)
    return {"run": run_name(directory), "directory": str(directory)}


def _take_evaluation(operation: str, files: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    from ktrdr.core.validation.stored_evaluation import (
        evaluation_directory,
        read_evaluation,
        recount_evaluation,
        store_evaluation,
    )

    # The worker counted its own trials only, as its ledger had no others.
    recount_evaluation(files, result)
    facts = store_evaluation(read_evaluation(files), operation=operation).facts
    return {"evaluation": facts.evaluation, "directory": str(evaluation_directory(facts.evaluation))}


def _take_verdict(operation: str, folder: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    from ktrdr.core.validation.stored_evaluation import read_evaluation, recount_evaluation
    from ktrdr.core.verdicts.stored_verdict import read_verdict, recount_verdict, store_verdict, verdict_directory

    recount_verdict(folder / "verdict", result)
    verdict = read_verdict(folder / "verdict")
    if result["evaluation"] is not None:
        recount_evaluation(folder / "evaluation", result["evaluation"])
        verdict = dataclasses.replace(verdict, evaluation=read_evaluation(folder / "evaluation"))
    facts = store_verdict(verdict, operation=operation).facts
    return {
        **facts.model_dump(mode="json", include={"verdict", "evaluation"}),
        "directory": str(verdict_directory(facts.verdict)),
    }


def _of(operation: str, name: str) -> str:
    return f"operations/{operation}/{name}"


def _symbols(job: Mapping[str, Any], bundle: Bundle | None) -> tuple[str, ...]:
    if bundle is not None:
        from ktrdr.core.backtesting.deployment import symbols_to_trade

        return symbols_to_trade(bundle.manifest, job.get("symbols"))
    if (evaluation := job.get("evaluation")) is not None:
        from ktrdr.core.validation.stored_evaluation import load_facts

        return load_facts(evaluation).symbols
    from ktrdr.core.strategy.loader import load_strategy_text

    return tuple(job.get("symbols") or load_strategy_text(job["strategy"]).strategy.training_data.symbols)


def _model_of(store: ModelStore, operation: str) -> Bundle | None:
    for entry in store.list():
        if entry.manifest is not None and entry.manifest.operation == operation:
            return store.get(entry.ref)
    return None
