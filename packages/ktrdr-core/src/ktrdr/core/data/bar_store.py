"""The bar store: one data set per symbol and timeframe, in Parquet files of one year each.

``<root>/<symbol>/<timeframe>/manifest.json`` names the current files. A write creates new files beside the old ones,
flushes them, and then replaces the manifest: a crash at any point leaves either the old bars or the new ones. Writers
hold a lock (``<root>/.lock``); readers need none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import check_calendar
from ktrdr.core.data.consistency import check_bars
from ktrdr.core.data.dataset_manifest import (
    MANIFEST,
    DatasetInfo,
    DatasetManifest,
    YearFile,
    read_manifest,
    read_totals,
)
from ktrdr.core.data.merging import by_year, check_spacing, check_year_ends, merge
from ktrdr.core.data.symbol_spelling import missing_symbol
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.data.worlds import market_words
from ktrdr.core.errors import BadInputError, NotFoundError, StoreError
from ktrdr.core.files.disk_space import cannot_write
from ktrdr.core.files.durable import stage_file, sync_directory
from ktrdr.core.home import home_directory
from ktrdr.core.names import check_symbol

__all__ = ["BarStore", "DatasetInfo", "WriteReport", "default_store"]

_LOCK_SECONDS = 600.0
_READ_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class WriteReport:
    """Result of a write. ``added + replaced + unchanged`` is the number of bars given.

    Attributes:
        symbol, timeframe: the data set.
        added: bars that were not stored before.
        replaced: bars that were stored with other values and now have the new ones.
        unchanged: bars that were stored with the same values.
        rows: number of bars in the data set after the write.
    """

    symbol: str
    timeframe: str
    added: int
    replaced: int
    unchanged: int
    rows: int


@dataclass(slots=True)
class _Staged:
    """New files of one data set that are written but not yet named in its manifest."""

    directory: Path
    report: WriteReport
    manifest: Path | None = None
    new_files: list[Path] = field(default_factory=list)
    old_files: list[Path] = field(default_factory=list)


def default_store() -> BarStore:
    """Return the store below :func:`~ktrdr.core.home.home_directory`."""
    return BarStore(home_directory() / "data")


class BarStore:
    """Stores bars below the directory ``root``, which is created by the first write."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def has(self, symbol: str, timeframe: Timeframe | str) -> bool:
        """Return True if bars of ``symbol`` and ``timeframe`` are stored."""
        return read_manifest(self._directory(symbol, timeframe)) is not None

    def datasets(self) -> list[DatasetInfo]:
        """Return all data sets, ordered by symbol and then from fine to coarse. Reads only the manifests."""
        found: list[DatasetInfo] = []
        for symbol in sorted(_names_in(str(self.root))):
            place = f"{self.root}/{symbol}"
            there = _names_in(place)
            for timeframe in TIMEFRAMES:
                info = read_totals(f"{place}/{timeframe}") if timeframe in there else None
                if info is not None:
                    found.append(info)
        return found

    def info(self, symbol: str, timeframe: Timeframe | str) -> DatasetInfo:
        """Return the description of one data set.

        Raises:
            NotFoundError: the data set is not stored.
        """
        directory = self._directory(symbol, timeframe)
        info = read_totals(str(directory))
        if info is None:
            raise self.missing(symbol, timeframe)
        return info

    def read(
        self,
        symbol: str,
        timeframe: Timeframe | str,
        start: np.datetime64 | None = None,
        end: np.datetime64 | None = None,
    ) -> Bars:
        """Return the bars that open in ``[start, end)``, possibly none.

        Args:
            symbol: such as ``EURUSD``.
            timeframe: a stored one.
            start: the earliest open, UTC; ``None`` for the first bar.
            end: bars open before this time, UTC; ``None`` for the last bar.

        Raises:
            BadInputError: a file of the data set is damaged.
            NotFoundError: the data set is not stored.
            StoreError: other processes write the data set all the time.
        """
        from duckdb import Error as DuckdbError

        from ktrdr.core.data.parquet import read_parquet

        manifest = self._manifest(symbol, timeframe)
        for _ in range(_READ_ATTEMPTS):
            try:
                columns = read_parquet(
                    [(path, file.rows) for path, file in self._files(manifest, start, end)], start, end
                )
                break
            except DuckdbError as error:
                # A writer may have replaced the files after the manifest was read: read it again.
                current = self._manifest(symbol, timeframe)
                if current == manifest:
                    raise self._unreadable(manifest, error) from error
                manifest = current
        else:
            raise StoreError(f"{symbol} {timeframe} is being written faster than it can be read; try again later")
        bars = Bars(symbol, Timeframe(str(timeframe)), **columns, calendar=manifest.calendar, world=manifest.world)
        if len(bars) > 1 and not (bars.time[1:] > bars.time[:-1]).all():
            raise self._unreadable(manifest, None)
        return bars

    def write(self, bars: Bars, *, recipe: Mapping[str, Any] | None = None) -> WriteReport:
        """Merge ``bars`` into their data set: add new bars, replace bars of the same time.

        Writing the same bars again changes nothing. Either all bars are stored or none. If ``bars`` have a calendar, it
        becomes the calendar of all timeframes of the symbol.

        Args:
            bars: the bars.
            recipe: what synthetic bars are made from, JSON values; stored with the data set.

        Returns:
            What changed.

        Raises:
            BadInputError: a bar is impossible (see :mod:`ktrdr.core.data.consistency`) or overlaps a stored bar, or
                bars of another market are stored under the symbol, or synthetic ones of another timeframe.
            StoreError: the disk is full or not writable.
        """
        self._directory(bars.symbol, bars.timeframe)
        check_bars(bars)  # before anything is created on disk
        return self._write_all([bars], recipe)[0]

    def write_all(self, datasets: Iterable[Bars]) -> list[WriteReport]:
        """Write several data sets as :meth:`write` does; if one cannot be written, none is changed.

        ``datasets`` may be a generator: only one data set is held in memory at a time. Each symbol and timeframe may
        occur once. (If the machine fails while the manifests are replaced, each data set is complete, but some may be
        old and others new.)

        Args:
            datasets: the bars of each data set.

        Returns:
            One report per data set, in the order given.

        Raises:
            BadInputError: as :meth:`write`.
            StoreError: the disk is full or not writable.
        """
        return self._write_all(datasets, None)

    def _write_all(self, datasets: Iterable[Bars], recipe: Mapping[str, Any] | None) -> list[WriteReport]:
        staged: list[_Staged] = []
        calendars: dict[str, str] = {}
        with self._writing() as created:
            committed = 0
            try:
                for bars in datasets:
                    staged.append(self._new_staged(bars, created))
                    self._stage(bars, staged[-1], recipe)
                    if bars.calendar is not None:
                        calendars[bars.symbol] = bars.calendar
                written = len(staged)
                for symbol, calendar in calendars.items():
                    self._stage_calendar(symbol, calendar, staged)
                for change in staged:
                    _commit(change)
                    committed += 1
                for change in staged:
                    sync_directory(change.directory)
            except BaseException:
                for change in staged[committed:]:
                    _discard(change)
                raise
            for change in staged:
                for path in change.old_files:
                    path.unlink(missing_ok=True)
        return [change.report for change in staged[:written]]

    def calendar(self, symbol: str) -> str | None:
        """Return the calendar that is stored with the data sets of ``symbol``, or ``None``."""
        check_symbol(symbol)
        manifests = (read_manifest(self.root / symbol / timeframe) for timeframe in TIMEFRAMES)
        return next((each.calendar for each in manifests if each is not None and each.calendar is not None), None)

    def world(self, symbol: str) -> str | None:
        """Return the world of the bars of ``symbol`` (see :attr:`.Bars.world`), or ``None`` if none are stored."""
        check_symbol(symbol)
        totals = (read_totals(str(self.root / symbol / timeframe)) for timeframe in TIMEFRAMES)
        return next((each.world for each in totals if each is not None), None)

    def recipe(self, symbol: str, timeframe: Timeframe | str) -> Mapping[str, Any] | None:
        """Return what the bars of a data set are made from, or ``None`` if that is not stored with them.

        Raises:
            NotFoundError: the data set is not stored.
        """
        return self._manifest(symbol, timeframe).recipe

    def set_calendar(self, symbol: str, calendar: str) -> str:
        """Store ``calendar`` with all data sets of ``symbol``, and return its canonical name.

        Raises:
            BadInputError: there is no such calendar.
            NotFoundError: no data set of ``symbol`` is stored.
            StoreError: the disk is full or not writable; each data set has the old calendar or the new one.
        """
        name = check_calendar(calendar)
        check_symbol(symbol)
        if not any(self.has(symbol, timeframe) for timeframe in TIMEFRAMES):
            raise self.missing(symbol)
        staged: list[_Staged] = []
        with self._writing():
            try:
                self._stage_calendar(symbol, name, staged)
                for change in staged:
                    _commit(change)
                    sync_directory(change.directory)
            except BaseException:
                for change in staged:
                    _discard(change)
                raise
        return name

    def delete(self, symbol: str, timeframe: Timeframe | str) -> None:
        """Delete a data set.

        Raises:
            NotFoundError: the data set is not stored.
            StoreError: the disk is not writable.
        """
        directory = self._directory(symbol, timeframe)
        if not directory.is_dir():
            raise self.missing(symbol, timeframe)
        with self._writing():
            (directory / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(directory)
            with contextlib.suppress(OSError):  # other timeframes of the symbol remain
                directory.parent.rmdir()

    def _directory(self, symbol: str, timeframe: Timeframe | str) -> Path:
        return self.root / check_symbol(symbol) / Timeframe(str(timeframe)).name

    def _manifest(self, symbol: str, timeframe: Timeframe | str) -> DatasetManifest:
        manifest = read_manifest(self._directory(symbol, timeframe))
        if manifest is None:
            raise self.missing(symbol, timeframe)
        return manifest

    def missing(self, symbol: str, timeframe: Timeframe | str | None = None) -> NotFoundError:
        """Return the error for a data set or a symbol that is not stored; it names the stored data sets."""
        datasets = self.datasets()
        stored = [f"{info.symbol} {info.timeframe}" for info in datasets]
        symbols = sorted({info.symbol for info in datasets} - {symbol})
        have = (
            f"stored are {', '.join(stored[:8])}{', ...' if len(stored) > 8 else ''}" if stored else "none are stored"
        )
        what = f"{timeframe} bars" if timeframe is not None else "bars"
        hint = missing_symbol(symbol, symbols) or "; `ktrdr data import FILE` adds some"
        return NotFoundError(f"no {what} of {symbol} in {self.root} ({have}){hint}")

    def _unreadable(self, manifest: DatasetManifest, error: Exception | None) -> BadInputError:
        reason = str(error).splitlines()[0] if error is not None else "bars are not in order"
        return BadInputError(
            f"the stored {manifest.timeframe} bars of {manifest.symbol} are damaged ({reason}): "
            f"`ktrdr data delete {manifest.symbol} {manifest.timeframe}` and import them again"
        )

    def _files(
        self, manifest: DatasetManifest, start: np.datetime64 | None, end: np.datetime64 | None
    ) -> Iterator[tuple[Path, YearFile]]:
        directory = self.root / manifest.symbol / manifest.timeframe
        for file in manifest.files.values():
            if (start is None or file.last >= start) and (end is None or file.first < end):
                yield directory / file.name, file

    @contextlib.contextmanager
    def _writing(self) -> Iterator[list[Path]]:
        """Hold the lock; yield a list for created directories, which are removed again if they stay empty."""
        from duckdb import Error as DuckdbError
        from filelock import FileLock, Timeout

        created: list[Path] = []
        try:
            _make_directory(self.root, created)
            with FileLock(self.root / ".lock", timeout=_LOCK_SECONDS, poll_interval=0.01):
                try:
                    yield created
                finally:
                    for directory in reversed(created):
                        with contextlib.suppress(OSError):
                            directory.rmdir()
        except Timeout:
            raise StoreError(
                f"another process has been writing to {self.root} for ten minutes; try again later"
            ) from None
        except (OSError, DuckdbError) as error:
            raise cannot_write(f"to {self.root}", error, "nothing was changed") from error

    def _new_staged(self, bars: Bars, created: list[Path]) -> _Staged:
        directory = self._directory(bars.symbol, bars.timeframe)
        check_bars(bars)
        _make_directory(directory, created)
        return _Staged(directory, WriteReport(bars.symbol, bars.timeframe.name, 0, 0, 0, 0))

    def _stage(self, bars: Bars, change: _Staged, recipe: Mapping[str, Any] | None) -> None:
        from ktrdr.core.data.parquet import read_parquet, write_parquet

        manifest = read_manifest(change.directory)
        if manifest is not None and manifest.symbol != bars.symbol:  # a file system that ignores case
            raise BadInputError(f"{bars.symbol} cannot be stored beside {manifest.symbol}: use one spelling")
        self._check_world(bars, manifest, recipe)
        files = dict(manifest.files) if manifest is not None else {}
        _remove_leftovers(change.directory, {file.name for file in files.values()})
        added = replaced = unchanged = 0
        for year, new in by_year(bars):
            old_file = files.get(year)
            merged, counts = new, (len(new), 0, 0)
            if old_file is not None:
                path = change.directory / old_file.name
                old = Bars(
                    bars.symbol,
                    bars.timeframe,
                    **read_parquet([(path, old_file.rows)]),
                    calendar=None,
                    world=bars.world,
                )
                merged, counts = merge(old, new)
            added, replaced, unchanged = added + counts[0], replaced + counts[1], unchanged + counts[2]
            if counts[0] == counts[1] == 0:
                continue
            target = change.directory / f"{year:04d}-{secrets.token_hex(8)}.parquet"
            change.new_files.append(target)
            write_parquet(merged, target)
            files[year] = YearFile(target.name, len(merged), merged.time[0], merged.time[-1], target.stat().st_size)
            check_spacing(merged)
            if old_file is not None:
                change.old_files.append(change.directory / old_file.name)
        files = dict(sorted(files.items()))
        check_year_ends(bars, list(files.values()))
        rows = sum(file.rows for file in files.values())
        change.report = WriteReport(bars.symbol, bars.timeframe.name, added, replaced, unchanged, rows)
        calendar = bars.calendar or self.calendar(bars.symbol)
        if change.new_files or (manifest is not None and manifest.calendar != calendar):
            stored = manifest or DatasetManifest(bars.symbol, bars.timeframe.name, {}, world=bars.world, recipe=recipe)
            self._stage_manifest(dataclasses.replace(stored, files=files, calendar=calendar), change)

    def _check_world(self, bars: Bars, manifest: DatasetManifest | None, recipe: Mapping[str, Any] | None) -> None:
        """Raise BadInputError if the stored bars of the symbol are of another market than ``bars``."""
        stored = self.world(bars.symbol)
        remedy = f"use another symbol, or delete the stored ones first with `ktrdr data delete {bars.symbol}`"
        if stored is not None and stored != bars.world:
            raise BadInputError(
                f"{bars.symbol}: {market_words(bars.world)} cannot be stored beside {market_words(stored)}: {remedy}"
            )
        if manifest is not None and recipe is not None and manifest.recipe != recipe:
            raise BadInputError(
                f"{bars.symbol} {bars.timeframe}: the stored bars of the synthetic market {stored} have another start "
                f"or other parameters than the new ones: {remedy}"
            )
        other = next((name for name in TIMEFRAMES if self.has(bars.symbol, name)), None)
        if manifest is None and recipe is not None and other is not None:
            raise BadInputError(
                f"{bars.symbol}: {other} bars of the synthetic market {stored} are stored, and {bars.timeframe} bars "
                f"that are made separately have other prices; longer bars are made from the stored ones: {remedy}"
            )

    def _stage_calendar(self, symbol: str, calendar: str, staged: list[_Staged]) -> None:
        """Stage ``calendar`` for the timeframes of ``symbol`` that are not in ``staged`` yet."""
        known = {change.directory for change in staged}
        for timeframe in TIMEFRAMES:
            directory = self._directory(symbol, timeframe)
            manifest = read_manifest(directory)
            if directory not in known and manifest is not None and manifest.calendar != calendar:
                staged.append(_Staged(directory, WriteReport(symbol, timeframe, 0, 0, 0, 0)))
                self._stage_manifest(dataclasses.replace(manifest, calendar=calendar), staged[-1])

    def _stage_manifest(self, manifest: DatasetManifest, change: _Staged) -> None:
        change.manifest = stage_file(change.directory / MANIFEST, manifest.to_json().encode())
        sync_directory(change.directory)


def _names_in(path: str) -> list[str]:
    """Return the names in the directory ``path``, none if it does not exist."""
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _make_directory(path: Path, created: list[Path]) -> None:
    missing = [path, *path.parents]
    missing = missing[: next((i for i, p in enumerate(missing) if p.exists()), len(missing))]
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        created.append(directory)
        sync_directory(directory.parent)


def _remove_leftovers(directory: Path, named: set[str]) -> None:
    """Remove files of writers that were killed; the lock is held, so no writer is using them."""
    for path in directory.iterdir():
        if path.name != MANIFEST and path.name not in named and path.is_file():
            path.unlink()


def _commit(change: _Staged) -> None:
    if change.manifest is not None:
        os.replace(change.manifest, change.directory / MANIFEST)


def _discard(change: _Staged) -> None:
    for path in (*change.new_files, change.manifest):
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
