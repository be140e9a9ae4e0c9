"""Imports in a process of their own: what comes back is what the import itself says, and limits end what goes on."""

from __future__ import annotations

import pytest

from ktrdr.core.errors import BadInputError, NotFoundError, StoreError
from ktrdr.core.models import apart
from ktrdr.core.models.apart import export_apart, import_apart, verify_apart
from ktrdr.core.models.archive import export_bundle
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.model_store import ModelStore


@pytest.fixture
def exported(store, add, tmp_path):
    add()
    return export_bundle(store, "waves/1", tmp_path)


def test_what_is_done_apart_is_what_is_done_here(store, exported, tmp_path):
    elsewhere = ModelStore(tmp_path / "elsewhere")
    assert import_apart(elsewhere.root, exported) == ("waves/1", True)
    assert import_apart(elsewhere.root, exported) == ("waves/1", False)
    assert elsewhere.get("waves").manifest.origin == "waves/1"
    assert verify_apart(elsewhere.root, "waves/1") == "waves/1"
    export_apart(store.root, "waves/1", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == exported.read_bytes()
    own = ModelStore(tmp_path / "own")
    import_apart(own.root, exported, own=True)
    assert own.get("waves").manifest.origin is None


def test_errors_come_back_as_what_they_are(store, exported, tmp_path):
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    exported.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        import_apart(tmp_path / "elsewhere", exported)
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFoundError, match="there is no model `tides`"):
        verify_apart(store.root, "tides/1")
    (store.root / "waves" / "1" / "history.json").write_text("[]")
    with pytest.raises(BundleError, match="was changed"):
        verify_apart(store.root, "waves/1")
    with pytest.raises(BundleError, match="was changed"):
        export_apart(store.root, "waves/1", tmp_path / "x.zip")


def test_a_place_that_cannot_be_written_is_the_stores_fault(exported, tmp_path):
    (tmp_path / "elsewhere").write_text("a file")
    with pytest.raises(StoreError, match="elsewhere"):
        import_apart(tmp_path / "elsewhere", exported)


@pytest.mark.parametrize("limit", ["time", "memory"])
def test_limits_end_what_goes_on(exported, tmp_path, monkeypatch, limit):
    """Were a bound forgotten, the system would end it, and the server would say so."""
    work = {"time": "while True: pass", "memory": "held = [bytes(2**26) for _ in range(64)]"}[limit]
    script = tmp_path / "site" / "sitecustomize.py"
    script.parent.mkdir()
    script.write_text(
        "import ktrdr.core.models.archive as archive\n"
        "def endless(*arguments, **more):\n"
        f"    {work}\n"
        "archive.import_bundle = endless\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(script.parent))
    monkeypatch.setattr(apart, "_SECONDS", 3)
    with pytest.raises(BadInputError, match="checking it took more than 3 s or 2048 MiB of memory") as caught:
        import_apart(tmp_path / "elsewhere", exported)
    assert not isinstance(caught.value, StoreError)
    assert not (tmp_path / "elsewhere").exists()
