"""What a bundle shows in several places must be the same: it trades what it shows."""

from __future__ import annotations

import copy
import json
import re

import pytest

from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.bundle import BundleError
from ktrdr.core.models.model_store import ModelStore


def texts(*changes):
    """Change the text of the strategy."""

    def change(directory, manifest):
        path = directory / "strategy.yaml"
        text = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    return change


def keys(**changes):
    """Change keys of the manifest, with ``__`` between their parts."""

    def change(directory, manifest):
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = manifest
            for parent in parents:
                place = place[parent]
            place[last] = value

    return change


def file(name, content):
    def change(directory, manifest):
        (directory / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    return change


PART = {"samples": 3, "per_class": {"BUY": {}, "HOLD": {}, "SELL": {}}, "confusion_matrix": [[1, 0, 0]] * 3}
EPOCH = {"epoch": 1, "metrics": {"loss": 1.0}}

FORGED = {
    # The text that is shown.
    "text of another risk": (
        texts(("model: ", "risk: {stop_loss: {percent: 50}}\nmodel: ")),
        r"strategy\.yaml says .*`risk\.stop_loss`",
    ),
    "text of another threshold": (
        texts(("output_format: classification", "output_format: classification, confidence_threshold: 0.9")),
        r"strategy\.yaml says 0\.9 for `decisions\.confidence_threshold`, manifest\.json has 0\.5",
    ),
    "text of another indicator": (
        texts(("period: 14", "period: 15")),
        r"15 for `indicators\.rsi_14\.parameters\.period`",
    ),
    "text of other memberships": (texts(("[0, 25, 50]", "[0, 20, 50]")), r"`fuzzy_sets\.rsi\.memberships\.low"),
    "text of another name": (
        texts(("name: waves", "name: honest")),
        r"'honest' for `name`, manifest\.json has 'waves'",
    ),
    "text of another architecture": (
        texts(("{type: mlp}", "{type: mlp, architecture: {hidden_layers: [9]}}")),
        r"\[9\] for `model\.architecture\.hidden_layers`",
    ),
    "text that is none": (file("strategy.yaml", "echo hello\n"), r"strategy\.yaml:1:"),
    "empty text": (file("strategy.yaml", ""), r"strategy\.yaml:1:1: the file is empty"),
    # The strategy that trades.
    "another stop": (
        keys(strategy__risk__stop_loss={"kind": "percent", "value": 90}),
        r"`risk\.stop_loss`, manifest\.json has",
    ),
    "everything on one trade": (
        keys(strategy__risk__sizing__value=1e9),
        r"`risk\.sizing\.value`, manifest\.json has 1000000000",
    ),
    "other labels": (
        keys(strategy__training__labels__parameters__horizon=5),
        r"4 for `training\.labels\.parameters\.horizon`",
    ),
    "a symbol that is a path": (
        keys(strategy__training_data__symbols=["../x"], data__symbols=["../x"], data__rows={"../x": 5}),
        r"manifest\.json: `strategy` is wrong in `symbols",
    ),
    "epochs without end": (keys(strategy__training__epochs=10**9), r"wrong in `epochs`"),
    "a seed that none is": (keys(strategy__training__seed=-1, seed=-1), r"wrong in `seed`"),
    "days in the wrong order": (
        keys(strategy__training_data__date_range={"start": "2017-02-01", "end": "2017-01-01"}),
        r"the end .* is before the start",
    ),
    "keys that were not given": (
        keys(strategy__training__given=["labels", "seed", "optimizer"]),
        r"wrong about `optimizer`",
    ),
    # The manifest beside it.
    "classes of a script": (
        keys(classes=["<script>alert(1)</script>", "HOLD", "SELL"]),
        r"manifest\.json says \('<script>.* for `classes`, its strategy \('BUY', 'HOLD', 'SELL'\)",
    ),
    "classes in another order": (keys(classes=["SELL", "HOLD", "BUY"]), r"for `classes`"),
    "another model type": (keys(model_type="lstm"), r"'lstm' for `model_type`, its strategy 'mlp'"),
    "another seed": (keys(seed=7), r"7 for `seed`, its strategy 42"),
    "a window that nothing asks for": (keys(window=20), r"20 for `window`, which is nowhere in its `architecture`"),
    "a window longer than the data": (
        keys(window=5000, architecture={"hidden_layers": [8, 4], "sequence_length": 5000}),
        r"5,000 for `window`, and there were fewer bars",
    ),
    "a plugin called os": (keys(plugin__name="os"), r"`os` for `plugin\.name`, which is a Python module"),
    "a plugin of somebody else": (
        keys(plugin__distribution="evil"),
        r"`torch` of evil for `plugin`; `torch` is of ktrdr-ml-torch",
    ),
    "another plugin of ours": (keys(plugin__name="sklearn"), r"`sklearn` of ktrdr-ml-torch for `plugin`"),
    "other symbols": (keys(data__symbols=["USDJPY"]), r"\('USDJPY',\) for `data\.symbols`, its strategy \('EURUSD',\)"),
    "other timeframes": (keys(data__timeframes=["4h"]), r"for `data\.timeframes`"),
    "rows of another symbol": (keys(data__rows={"USDJPY": 5}), r"for `data\.rows`"),
    "no rows": (keys(data__rows={"EURUSD": 0}), r"`data\.rows\.EURUSD` is less than one bar"),
    "data that ends before it starts": (keys(data__end="2016-01-01T00:00:00Z"), r"`data` ends before it starts"),
    "parts outside of the data": (
        keys(data__split={"EURUSD": {"train": {"start": "2010-01-01T00:00:00Z", "end": "2017-02-01T00:00:00Z"}}}),
        r"`data\.split\.EURUSD` overlap, or lie outside",
    ),
    "metrics of another part": (keys(metrics={"live": {}}), r"`metrics` has other parts than validation and test"),
    "metrics of other classes": (
        keys(metrics={"test": PART | {"per_class": {"UP": {}}}}),
        r"`metrics\.test\.per_class`",
    ),
    "a matrix of other classes": (keys(metrics={"test": PART | {"confusion_matrix": [[1]]}}), r"confusion_matrix"),
    "a calibration of other samples": (
        keys(metrics={"test": PART | {"calibration": {"bins": [{"samples": 4}]}}}),
        r"`metrics\.test\.calibration` has other samples",
    ),
    "a calibration that is none": (keys(metrics={"test": PART | {"calibration": []}}), r"calibration"),
    "a baseline that is none": (keys(baselines={"majority": [1]}), r"`baselines\.majority` has other parts"),
    "importance of other features": (keys(importance={"features": [{"id": "x"}]}), r"`importance\.features`"),
    # The other files.
    "normalizers of another symbol": (file("normalizers.json", {"USDJPY": {}}), r"normalizers\.json has USDJPY"),
    "no normalizers": (file("normalizers.json", {}), r"normalizers\.json has nothing, manifest\.json says EURUSD"),
    "a list of normalizers": (file("normalizers.json", []), r"normalizers\.json has no map"),
    "normalizers of other features": (
        file("normalizers.json", {"EURUSD": {"x": {"method": "zscore", "offset": 0, "scale": 1}}}),
        r"normalizers\.json: the normalizers of `EURUSD` are not those",
    ),
    "a history that is none": (file("history.json", [1]), r"history\.json is not a list of epochs: record 1"),
    "a history of text": (file("history.json", [{"epoch": 1, "metrics": {"x": "<b>"}}]), r"history\.json"),
    "a map for a history": (file("history.json", {"epoch": 1}), r"history\.json is not a list"),
    "an epoch of a truth": (file("history.json", [EPOCH | {"epoch": True}]), r"history\.json"),
    "epochs that go back": (file("history.json", [EPOCH | {"epoch": 2}, EPOCH]), r"epoch 1 after epoch 2"),
    "more epochs than asked for": (file("history.json", [EPOCH | {"epoch": 101}]), r"epoch 101 .* says 100"),
    "a best epoch that was none": (keys(facts={"best_epoch": 4000}), r"4000 for `facts\.best_epoch`"),
    "a model of other classes": (
        file("model.json", {"classes": ["SELL", "HOLD", "BUY"]}),
        r"model\.json contradicts manifest\.json in `classes`",
    ),
    "a model of another architecture": (
        file("model.json", {"architecture": {"hidden_layers": [9]}}),
        r"`architecture`",
    ),
    "a model of a longer window": (file("model.json", {"window": 10**9}), r"`window`"),
    "a model of other features": (file("model.json", {"feature_ids": ["a"]}), r"`feature_ids`"),
    "a model that is a list": (file("model.json", []), r"model\.json is not a map"),
    "rules over other memberships": (
        file(
            "model.json",
            {"fuzzy_variables": [{"name": "rsi", "column": 0, "functions": [["low", "triangular", [0, 1, 2]]]}]},
        ),
        r"model\.json: `fuzzy_variables`",
    ),
}


@pytest.fixture
def forge(rewrite):
    def run(bundle, change):
        manifest = json.loads((bundle.directory / "manifest.json").read_text(encoding="utf-8"))
        before = copy.deepcopy(manifest)
        change(bundle.directory, manifest)
        rewrite(bundle, **{key: value for key, value in manifest.items() if value != before[key]})

    return run


@pytest.mark.parametrize("kind", sorted(FORGED))
def test_what_shows_one_thing_and_trades_another_is_refused(store, add, forge, tmp_path, kind):
    change, reason = FORGED[kind]
    bundle = add()
    forge(bundle, change)
    with pytest.raises(BundleError) as caught:
        store.verify("waves/1")
    told = str(caught.value)
    assert re.search(reason, told), told
    assert told.startswith("model waves/1 is refused: ")
    assert told.isprintable()
    with pytest.raises(BundleError):
        import_bundle(ModelStore(tmp_path / "elsewhere"), zipped(bundle.directory, tmp_path / "forged.zip"))


def zipped(directory, path):
    """Write a bundle that :func:`export_bundle` would refuse to write."""
    from ktrdr.core.files.archives import ArchiveLimits, write_archive

    write_archive(path, directory, sorted(each.name for each in directory.iterdir()), ArchiveLimits(99, 2**30))
    return path


def test_what_a_run_may_say_otherwise_than_its_file_is_no_finding(store, add, forge):
    bundle = add()
    forge(
        bundle,
        keys(
            strategy__training_data__symbols=["USDJPY"],
            strategy__training_data__date_range={"start": "2017-01-01", "end": None},
            strategy__training__epochs=7,
            strategy__training__seed=3,
            strategy__training__given=["labels", "seed", "epochs"],
            seed=3,
            data__symbols=["USDJPY"],
            data__rows={"USDJPY": 4600},
        ),
    )
    file("normalizers.json", {"USDJPY": {}})(bundle.directory, None)
    forge(store.get("waves/1"), keys())
    store.verify("waves/1")


def test_what_a_later_version_of_labels_can_also_be_told_is_no_finding(store, add, forge):
    """A bundle from before a parameter of the labels says nothing of it, and neither does its text."""
    bundle = add()
    manifest = json.loads((bundle.directory / "manifest.json").read_text(encoding="utf-8"))
    parameters = dict(manifest["strategy"]["training"]["labels"]["parameters"])
    del parameters["threshold"]
    forge(bundle, keys(strategy__training__labels__parameters=parameters))
    # It stands in the text here, so it is one.
    with pytest.raises(BundleError, match=r"0\.001 for `training\.labels\.parameters\.threshold`, .* has nothing"):
        store.verify("waves/1")
    texts((", threshold: 0.001", ""))(bundle.directory, None)
    forge(store.get("waves/1"), keys())
    store.verify("waves/1")


def test_several_findings_are_told_together(store, add, forge):
    bundle = add()
    forge(
        bundle, keys(seed=7, model_type="lstm", window=3, classes=["a", "b"], data__timeframes=["4h"], metrics={"x": 1})
    )
    with pytest.raises(BundleError, match=r"`model_type`.*`classes`.*`seed`.*; and \d more$"):
        store.verify("waves/1")


def test_an_export_is_verified_too(store, add, forge, tmp_path):
    forge(add(), keys(seed=7))
    with pytest.raises(BundleError, match="`seed`"):
        export_bundle(store, "waves/1", tmp_path)


def leaves(tree, path=()):
    """Yield the path of every value that holds no others."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from leaves(value, (*path, key))
    if not inner:
        yield path


def altered(value):
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case _:
            return "x" if value is None else [*value, "x"] if isinstance(value, list) else {**value, "x": 1}


# What a run may say otherwise, and what the declaration of the plugin adds to the architecture.
FREE = {("training_data", "symbols"), ("training_data", "date_range"), ("training", "epochs"), ("training", "seed"),
        ("training", "given"), ("model", "architecture")}  # fmt: skip


def test_every_value_of_the_strategy_that_trades_is_held_to_the_text(store, add, forge):
    bundle = add()
    whole = (bundle.directory / "manifest.json").read_text(encoding="utf-8")
    tried = 0
    for path in leaves(json.loads(whole)["strategy"]):
        if path[:2] in FREE:
            continue
        manifest = json.loads(whole)
        place = manifest["strategy"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = altered(place[path[-1]])
        (bundle.directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(BundleError, match="model waves/1 is refused"):
            store.verify("waves/1")
        tried += 1
    assert tried > 50
    (bundle.directory / "manifest.json").write_text(whole, encoding="utf-8")
    store.verify("waves/1")
