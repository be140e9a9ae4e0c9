"""Texts that fit on a line."""

from __future__ import annotations

import pytest

from ktrdr.core.short_texts import first_words, short_repr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), ""),
        (("A",), "A"),
        (("A", "B", "C"), "A B C"),
        (("A", "B", "C", "D"), "A B C and 1 more"),
        (tuple("S" * 2_003), "S S S and 2,000 more"),
    ],
)
def test_the_first_words_and_the_number_of_the_others(words: tuple[str, ...], text: str) -> None:
    assert first_words(words) == text


@pytest.mark.parametrize("length", [0, 1, 117, 118, 119, 5_000])
def test_a_repr_has_at_most_120_characters_and_marks_a_cut(length: int) -> None:
    shown = short_repr("x" * length)
    assert len(shown) == min(length + 2, 120)
    assert shown.endswith("...>") == (length > 118)
    assert set(shown[1:-1].removesuffix("...")) <= {"x"}
