"""The functions of `ktrdr.core.models`, as Python code calls them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ktrdr.core.models as models
from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.features.columns import feature_columns
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.manifest import ManifestFields
from ktrdr.core.models.model_store import ModelStore, default_model_store
from ktrdr.core.strategy.loader import load_strategy_text

STRATEGY = Path(__file__).parents[4] / "strategies" / "neuro_mean_reversion.yaml"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """The store of a home of the test's own."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    return default_model_store()


@pytest.fixture
def shipped(store: ModelStore, fields: ManifestFields) -> Bundle:
    """A model of the strategy that comes with KTRDR, with made-up weights."""
    text = STRATEGY.read_text(encoding="utf-8")
    strategy = load_strategy_text(text).strategy
    ids = tuple(column.id for column in feature_columns(strategy))
    changes = {
        "strategy": strategy,
        "feature_ids": ids,
        "input_size": len(ids),
        "architecture": strategy.model.architecture,
    }
    with store.create(strategy.name) as writer:
        writer.write_strategy(text)
        writer.write_normalizers({"EURUSD": {}})
        writer.write_history([])
        (writer.directory / "weights.json").write_text("[1]")
        return writer.commit(fields.model_copy(update=changes))


@pytest.mark.parametrize("name", models.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(models, name).__name__ == name


def test_importing_the_room_imports_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import ktrdr.core.models;"
        "print(*{name.partition('.')[0] for name in sys.modules.keys() - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ktrdr"]


def test_an_empty_home_gives_no_rows_of_the_same_types(store: ModelStore, add: Callable[..., Bundle]) -> None:
    empty = models.list()
    assert empty.empty
    add()
    full = models.list()
    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    assert (empty.index.name, empty.index.dtype) == (full.index.name, full.index.dtype) == ("model", full.index.dtype)


def test_the_list_has_what_the_manifests_say(store: ModelStore, add: Callable[..., Bundle]) -> None:
    bundles = [add(), add(b"\2" * 8)]
    (bundles[1].directory / "manifest.json").write_text("{}", encoding="utf-8")
    whole, broken = models.list().to_dict("index").values()
    manifest = bundles[0].manifest
    assert whole["created"].to_pydatetime() == manifest.created
    assert [whole[name] for name in ("type", "backend", "symbols", "features", "state", "problem")] == [
        "mlp", "torch", "EURUSD", manifest.input_size, "ok", "",
    ]  # fmt: skip
    assert broken["state"] == "broken"
    assert broken["problem"].startswith("model waves/2 is refused")
    missing = models.list().isna().loc["waves/2"]
    assert list(missing[missing].index) == ["created", "type", "backend", "symbols", "features", "origin"]


def test_the_list_of_one_name(store: ModelStore, add: Callable[..., Bundle], shipped: Bundle) -> None:
    add()
    assert list(models.list().index) == ["neuro_mean_reversion/1", "waves/1"]
    assert list(models.list("waves").index) == ["waves/1"]
    assert models.list("other").empty
    with pytest.raises(BadInputError, match="cannot be the name of a model"):
        models.list("waves/1")


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("function", [models.load, models.verify, models.delete])
@pytest.mark.parametrize(
    ("ref", "error", "said"),
    [
        ("neuro_mean_revision", NotFoundError, "there is no model `neuro_mean_revision` in .*, did you mean `neuro_m"),
        ("neuro_mean_reversion/7", NotFoundError, "has no version 7; it has 1"),
        ("neuro_mean_reversion/latest", BadInputError, "does not name a model; write `name` for the latest version"),
        ("", BadInputError, "does not name a model"),
        (3, BadInputError, "3 does not name a model"),
    ],
)
def test_a_reference_that_names_no_model(
    function: Callable[[object], object], ref: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        function(ref)
    assert len(models.list()) == 1


def test_an_empty_home_says_how_a_model_is_made(store: ModelStore) -> None:
    with pytest.raises(NotFoundError, match="the store is empty, `ktrdr train` fills it"):
        models.load("waves")


def test_a_changed_file_is_found_by_verify_alone(store: ModelStore, add: Callable[..., Bundle]) -> None:
    bundle = add()
    (bundle.directory / "weights.safetensors").write_bytes(b"other")
    assert models.load("waves") == bundle
    with pytest.raises(models.BundleError, match=r"weights\.safetensors was changed after it was saved"):
        models.verify("waves")


def test_an_export_overwrites_where_it_is_told_to(
    store: ModelStore, add: Callable[..., Bundle], tmp_path: Path
) -> None:
    add()
    file = tmp_path / "waves.zip"
    assert models.export("waves", str(file)) == file
    content = file.read_bytes()
    file.write_bytes(b"precious")
    with pytest.raises(BadInputError, match=r"exists; choose another file, or overwrite it with overwrite=True$"):
        models.export("waves", file)
    assert models.export("waves", file, overwrite=True).read_bytes() == content


def test_an_imported_model_is_added_once(store: ModelStore, add: Callable[..., Bundle], tmp_path: Path) -> None:
    add()
    file = models.export("waves", tmp_path)
    assert models.import_file(file).ref == "waves/1"
    models.delete("waves/1")
    assert models.import_file(str(file)).ref == "waves/2"
    assert models.list().origin.to_dict() == {"waves/2": "waves/1"}
    with pytest.raises(BadInputError, match="there is no file .*absent.zip"):
        models.import_file(tmp_path / "absent.zip")


def test_a_path_may_begin_with_the_home_of_the_user(
    store: ModelStore, add: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    add()
    assert models.export("waves", "~/waves.zip") == tmp_path / "waves.zip"
    assert models.import_file("~/waves.zip").ref == "waves/1"


def test_a_model_is_shown_on_a_line(store: ModelStore, shipped: Bundle, fields: ManifestFields) -> None:
    about = "mlp trained with torch on EURUSD 1h, 2017-01-01 to 2017-09-29, 18 inputs"
    assert repr(shipped) == f"<Bundle neuro_mean_reversion/1: {about}>"
    assert repr(shipped.manifest) == str(shipped.manifest) == f"<Manifest neuro_mean_reversion/1: {about}>"
    assert repr(shipped.manifest.data) == "<DataReference EURUSD 1h, 2017-01-01 to 2017-09-29>"
    assert repr(fields) == f"<ManifestFields: {about.removesuffix(', 18 inputs')}, {fields.input_size} inputs>"
    symbols = tuple(f"SYMBOL{number}" for number in range(500))
    large = shipped.manifest.model_copy(
        update={"name": "n" * 64, "data": shipped.manifest.data.model_copy(update={"symbols": symbols})}
    )
    for shown in (repr(large), repr(large.data), repr(Bundle(Path(), large))):
        assert len(shown) <= 120
    assert " SYMBOL2 and 497 more" in repr(large.data)


def test_a_notebook_shows_a_table_of_facts(store: ModelStore, shipped: Bundle) -> None:
    manifest = shipped.manifest.model_copy(
        update={"warnings": ("<b>few</b> & bad",), "metrics": {"test": {"accuracy": 0.5, "confusion": [[1]]}}}
    )
    page = Bundle(shipped.directory, manifest)._repr_html_()
    assert "<b>" not in page
    cells = _Cells()
    cells.feed(page)
    facts = dict(zip(cells.found[::2], cells.found[1::2], strict=True))
    assert facts["model"] == "neuro_mean_reversion/1"
    assert facts["data"] == "EURUSD 1h, 2017-01-01 to 2017-09-29"
    assert facts["warning"] == "<b>few</b> & bad"
    assert facts["features"] == "18"
    assert facts["test metrics"] == "accuracy 0.5"
    assert "origin" not in facts
    assert re.fullmatch(r"<table>(<tr><th>[^<]+</th><td>[^<]+</td></tr>)+</table>", page)


class _Cells(HTMLParser):
    """The texts of the cells of a table, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)
