"""Every metric that is shown is explained."""

from __future__ import annotations

import re

from ktrdr.core.backtesting.metrics import METRICS


def test_every_metric_is_on_the_page(docs):
    text = (docs / "explanation" / "metrics.md").read_text(encoding="utf-8")
    cells = " ".join(re.findall(r"^\| (.+?) \|", text, re.MULTILINE)).replace("from / to", "from Sharpe, 95% to")
    missing = [info.label for info in METRICS if info.label not in cells]
    assert missing == []
    assert "Omega ratio" not in cells
