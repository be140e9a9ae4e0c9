from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.labels.make import make_labels
from ktrdr.core.strategy.model import Labels
from ktrdr.core.training.labelling import count_labels, label_symbol

DIRECTION = Labels(source="direction", parameters={"horizon": 4, "threshold": 0.0005})


def test_label_symbol_equals_make_labels():
    bars = sample_bars()[:500]
    np.testing.assert_array_equal(label_symbol(DIRECTION, bars).values, make_labels(DIRECTION, bars).values)


def test_labels_are_counted_by_class():
    made = label_symbol(DIRECTION, sample_bars()[:500])
    counts = count_labels(made)
    assert list(counts) == ["BUY", "HOLD", "SELL"]
    assert sum(counts.values()) == 496
    assert counts["HOLD"] == int((made.values == 1).sum())
    values = label_symbol(Labels(source="forward_return", parameters={"horizon": 20}), sample_bars()[:500])
    assert count_labels(values) == {"values": 480}


def test_fewer_bars_than_labels_look_ahead_are_refused():
    with pytest.raises(BadInputError, match=r"no bar of EURUSD 1h has a label: `direction` looks 4 bars"):
        label_symbol(DIRECTION, sample_bars()[:4])
