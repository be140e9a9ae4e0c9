"""The limit of the cache is read from the environment."""

from __future__ import annotations

import pytest

from ktrdr.core.cache.default_cache import cache_limit, default_cache
from ktrdr.core.errors import BadInputError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 2 * 2**30),
        ("", 2 * 2**30),
        ("0", 0),
        ("0GB", 0),
        ("1000", 1000),
        ("500MB", 500_000_000),
        (" 1.5 GiB ", 3 * 2**29),
        ("1kib", 1024),
        ("2TB", 2 * 10**12),
        ("999999999999999", 999_999_999_999_999),
    ],
)
def test_sizes(monkeypatch, tmp_path, given, expected):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    monkeypatch.delenv("KTRDR_CACHE_LIMIT", raising=False)
    if given is not None:
        monkeypatch.setenv("KTRDR_CACHE_LIMIT", given)
    assert cache_limit() == expected
    cache = default_cache()
    assert (cache.root, cache.limit, cache.on) == (tmp_path / "cache", expected, expected > 0)


@pytest.mark.parametrize("given", ["2G", "-1", "much", "1e9", "nan", "GiB", "1 2", "٣", "9" * 400])
def test_what_is_no_size_is_refused(monkeypatch, given):
    monkeypatch.setenv("KTRDR_CACHE_LIMIT", given)
    with pytest.raises(BadInputError, match="KTRDR_CACHE_LIMIT is not a size: .* or to 0 to turn the cache off"):
        cache_limit()
