"""`ktrdr demo` where it cannot run; the demo itself needs torch and is tested end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--seed", "3", "--epochs", "2")])
def test_without_a_backend_it_is_refused_before_anything_is_written(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("KTRDR_HOME", str(home))
    monkeypatch.setattr(manager, "default_manager", lambda: PluginManager(path=[], environ={}))
    with pytest.raises(SystemExit) as end:
        main(("demo", *arguments))
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert said.err.startswith("Error: ")
    assert "mlp" in said.err
    assert "ktrdr-ml-torch" in said.err
    assert said.err.count("\n") == 1
    assert not home.exists()
