"""Every command of the tutorial is run, and its output compared with what the page shows."""

from __future__ import annotations

import pytest


def test_the_comparison_can_fail(console):
    assert console.matches("a ... c\n...\nend\n", "a b c\nx\ny\nend\n")
    assert console.matches("a   b\n", "a b   \n")
    assert not console.matches("a\nend\n", "a\nb\nend\n")
    assert not console.matches("a ... c\n", "a b d\n")


@pytest.mark.slow
def test_the_tutorial(console, docs, tmp_path):
    (tmp_path / "packages").symlink_to(console.ROOT / "packages")
    page = (docs / "tutorial.md").read_text(encoding="utf-8")
    # The first sets up a shell, which is the reader's.
    assert console.run(page, tmp_path, skip=1) >= 12
