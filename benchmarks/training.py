"""Epochs of the torch backend against a bare loop, torch's DataLoader and skorch; prediction; memory of training.

    python benchmarks/training.py [--quick] [--only TEXT] [--json FILE]

- *ktrdr* is `TorchTrainer.train` as KTRDR calls it, including shuffling, progress, cancellation, accuracy, the
  validation loss and the copy of the best epoch.
- *bare loop* is a minimal loop on tensors that are already on the device: shuffle, index, step, and the validation
  loss. *bare loop, fused* is the same with torch's fused optimizer, which ours uses too.
- *DataLoader* is the bare loop with `DataLoader(TensorDataset(...), batch_size, shuffle=True)` and other settings at
  their defaults. *DataLoader, one by one* also keeps the default batch size of 1: it is measured on a thousand samples,
  and the time is scaled to the number of samples of the others.
- *skorch* is `NeuralNetClassifier` with the same network, optimizer and validation samples.

On the CPU each has one thread. If torch finds a GPU, it is used; wall time is then measured instead of CPU time, and an
mlp with wide layers is trained too, also with bfloat16 products.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Contest, Figure, Taken, find, main, memory_of, reported
from torch import nn

from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins import Predictor, Split, TrainingData, TrainingTask
from ktrdr.core.strategy.model import CLASSES, Labels, Training
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.torch_loader import TorchLoader
from ktrdr.ml.torch.torch_storage import TorchStorage
from ktrdr.ml.torch.torch_trainer import TorchTrainer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FEATURES, STEPS = 12, 20
HIDDEN = (64, 32)
ONE_BY_ONE = 1_000
SMALL, LARGE, LSTM = "mlp 64x32, batches of 32", "mlp 64x32, batches of 1,024", "lstm 64x2, 20 steps, batches of 32"
WIDE = "mlp 4096x3, batches of 8,192"


def task_of(kind: str, batch: int, epochs: int, device: str, **architecture: Any) -> TrainingTask:
    """Return the task that core would pass to the backend."""
    training = Training(labels=Labels(source="direction", parameters={}), epochs=epochs, batch_size=batch)
    complete, problems = validate_parameters(architecture, MODEL_TYPES[kind].architecture)
    assert not problems, problems
    return TrainingTask(
        model_type=kind,
        architecture=complete,
        output="classification",
        classes=CLASSES,
        feature_ids=tuple(f"f{number}" for number in range(FEATURES)),
        settings=training.model_dump(exclude={"labels", "data_split", "embargo", "sample_weights", "seed", "given"}),
        device=device,
    )


def data_of(samples: int, window: int) -> TrainingData:
    """Return ``samples`` training samples, and 15/70 as many validation samples."""
    random = np.random.default_rng(0)
    rows = samples + samples * 15 // 70 + window - 1
    features = random.random((rows, FEATURES), dtype=np.float32)
    labels = np.digitize(features[:, 0] - features[:, 1], [-0.25, 0.25]).astype(np.int64)
    places = np.arange(window - 1, rows)
    parts = (places[:samples], places[samples:])
    train, validation = (Split(part, labels[part], np.ones(len(part), np.float32)) for part in parts)
    return TrainingData(features, train, validation)


class Recurrent(nn.Module):
    """The network of the lstm, with torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(FEATURES, 64, num_layers=2, dropout=0.2, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(64, 3)

    def forward(self, x: Any) -> Any:
        """Return scores ``(n, 3)`` of ``(n, steps, features)``."""
        return self.head(self.dropout(self.layers(x)[0][:, -1]))


def network_of(kind: str, hidden: tuple[int, ...]) -> nn.Module:
    """Return the same network, built with torch's own layers."""
    if kind == "lstm":
        return Recurrent()
    layers: list[nn.Module] = []
    for inputs, outputs in zip((FEATURES, *hidden), hidden, strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 3))


class Problem:
    """The samples of one contest, as data of the backend and as tensors."""

    def __init__(self, samples: int, *, kind: str, batch: int, epochs: int, hidden: tuple[int, ...] = HIDDEN) -> None:
        self.kind, self.samples, self.batch, self.epochs, self.hidden = kind, samples, batch, epochs, hidden
        self.window = STEPS if kind == "lstm" else 1
        self.data = data_of(samples, self.window)
        features = torch.from_numpy(self.data.features)
        # All windows are copied in advance, so that the bare loops need not gather them.
        x = features.unfold(0, STEPS, 1).transpose(1, 2).contiguous() if kind == "lstm" else features
        y = torch.from_numpy(np.concatenate([self.data.train.labels, self.data.validation.labels]))
        self.x, self.x_val = x[:samples].to(DEVICE), x[samples:].to(DEVICE)
        self.y, self.y_val = y[:samples].to(DEVICE), y[samples:].to(DEVICE)


def finished(work: Callable[[Problem], None], problem: Problem) -> None:
    """Run ``work`` and wait for its end, also on a GPU."""
    torch.set_num_threads(1)
    work(problem)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def ours(problem: Problem, **architecture: Any) -> None:
    """Train with the backend."""
    given = {"hidden_layers": list(problem.hidden)} if problem.kind == "mlp" else {"sequence_length": STEPS}
    task = task_of(problem.kind, problem.batch, problem.epochs, str(DEVICE), **given, **architecture)
    TorchTrainer().train(task, problem.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None)


def bare(problem: Problem, *, fused: bool | None = None) -> None:
    """Train with a minimal loop."""
    x, y, size = problem.x, problem.y, problem.batch

    def batches() -> Any:
        order = torch.randperm(len(x), device=x.device)
        return ((x[order[at : at + size]], y[order[at : at + size]]) for at in range(0, len(x), size))

    _loop(problem, batches, problem.epochs, fused)


def loader(problem: Problem) -> None:
    """Train with DataLoader, with default settings except the batch size."""
    dataset = torch.utils.data.TensorDataset(problem.x.cpu(), problem.y.cpu())
    each = torch.utils.data.DataLoader(dataset, batch_size=problem.batch, shuffle=True)
    _loop(problem, lambda: ((x.to(DEVICE), y.to(DEVICE)) for x, y in each), problem.epochs, None)


def one_by_one(problem: Problem) -> Taken:
    """Train on some of the samples with DataLoader and default settings; return the cost scaled to all samples."""
    torch.set_num_threads(1)
    few = min(ONE_BY_ONE, problem.samples)
    dataset = torch.utils.data.TensorDataset(problem.x[:few].cpu(), problem.y[:few].cpu())
    each = torch.utils.data.DataLoader(dataset)
    wall, cpu = time.perf_counter(), time.process_time()
    _loop(problem, lambda: ((x.to(DEVICE), y.to(DEVICE)) for x, y in each), 1, None)
    share = problem.epochs * problem.samples / few
    return Taken((time.perf_counter() - wall) * share, (time.process_time() - cpu) * share)


def skorch(problem: Problem) -> None:
    """Train with skorch, with default settings."""
    from skorch import NeuralNetClassifier
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    NeuralNetClassifier(
        network_of(problem.kind, problem.hidden),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.001,
        max_epochs=problem.epochs,
        batch_size=problem.batch,
        iterator_train__shuffle=True,
        train_split=predefined_split(Dataset(problem.x_val, problem.y_val)),
        device=str(DEVICE),
        verbose=0,
    ).fit(problem.x, problem.y)


def _loop(problem: Problem, batches: Callable[[], Any], epochs: int, fused: bool | None) -> None:
    network = network_of(problem.kind, problem.hidden).to(DEVICE)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=fused)
    for _ in range(epochs):
        network.train()
        for x, y in batches():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for at in range(0, len(problem.x_val), 1024):
                score = network(problem.x_val[at : at + 1024])
                nn.functional.cross_entropy(score, problem.y_val[at : at + 1024], reduction="sum").item()


Rows = tuple[np.ndarray, Predictor, nn.Module]


def rows_of(kind: str, rows: int) -> Rows:
    """Return features, a predictor loaded from a stored model, and the same network with torch's own layers."""
    torch.set_num_threads(1)
    window = STEPS if kind == "lstm" else 1
    given = {"hidden_layers": list(HIDDEN)} if kind == "mlp" else {"sequence_length": STEPS}
    task = task_of(kind, 32, 1, str(DEVICE), **given)
    model = TorchTrainer().train(
        task, data_of(64, window), progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None
    )
    with tempfile.TemporaryDirectory() as folder:
        TorchStorage().save(model, Path(folder))
        predictor = TorchLoader().load(Path(folder), str(DEVICE))
    features = np.random.default_rng(1).random((rows + window - 1, FEATURES), dtype=np.float32)
    return features, predictor, network_of(kind, HIDDEN).to(DEVICE).eval()


def predict(given: Rows) -> np.ndarray:
    """Predict like a backtest."""
    return given[1].predict(given[0])


def bare_forward(given: Rows) -> np.ndarray:
    """Predict with plain torch: one pass for the mlp, blocks of windows for the lstm."""
    features, _, network = given
    with torch.no_grad():
        x = torch.from_numpy(features)
        if not isinstance(network, Recurrent):
            return torch.softmax(network(x.to(DEVICE)), 1).cpu().numpy()
        windows = x.unfold(0, STEPS, 1).transpose(1, 2)
        parts = (windows[at : at + 1024].to(DEVICE) for at in range(0, len(windows), 1024))
        return torch.cat([torch.softmax(network(part), 1).cpu() for part in parts]).numpy()


def memory(kind: str, samples: int, batch: int) -> dict[str, float]:
    """Train once; return in MiB the added memory, the part that does not depend on samples, and the matrix."""
    torch.set_num_threads(1)
    # A small lstm, because the memory of the samples is to be measured, not that of the network.
    small = {"sequence_length": STEPS, "hidden_size": 16, "num_layers": 1}
    given = small if kind == "lstm" else {"hidden_layers": list(HIDDEN)}
    window = STEPS if kind == "lstm" else 1

    def added_by(data: TrainingData, epochs: int) -> float:
        task = task_of(kind, batch, epochs, "cpu", **given)
        return memory_of(
            lambda: TorchTrainer().train(task, data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None)
        )["added_mib"]

    few = data_of(batch * 4, window)
    added_by(few, 1)  # loads the modules
    # The network, its optimizer and the memory of many batches, which do not depend on the number of samples.
    network = added_by(few, 25)
    data = data_of(samples, window)
    return {"added": added_by(data, 2), "network": network, "matrix": data.features.nbytes / 2**20}


def contests(quick: bool) -> list[Contest]:
    """Return the contests: training of both model types at several batch sizes, and prediction."""
    programs: Mapping[str, Callable[[Problem], Any]] = {
        "ktrdr": partial(finished, ours),
        "bare loop": partial(finished, bare),
        "bare loop, fused": partial(finished, partial(bare, fused=True)),
        "DataLoader": partial(finished, loader),
        "skorch": partial(finished, skorch),
    }
    clock = "cpu" if DEVICE.type == "cpu" else "wall"

    def training(
        name: str, sizes: tuple[int, int, int], rounds: int, more: Mapping[str, Callable[[Problem], Any]], **facts: Any
    ) -> Contest:
        taking_part = {**programs, **more}
        return Contest(
            f"training, {name}",
            taking_part,
            partial(Problem, **facts),
            sizes=tuple(size // 50 for size in sizes) if quick else sizes,
            unit="samples",
            rounds=1 if quick else rounds,
            few=dict.fromkeys(taking_part, rounds) if facts["epochs"] == 1 else {},
            clock=clock,
        )

    single = {"DataLoader, one by one": one_by_one}
    found = [
        training(SMALL, (1_900, 5_700, 17_000), 4, single, kind="mlp", batch=32, epochs=2),
        training(LARGE, (50_000, 160_000, 500_000), 2, {}, kind="mlp", batch=1024, epochs=1),
        training(LSTM, (1_400, 3_900, 11_000), 2, {}, kind="lstm", batch=32, epochs=1),
    ]
    if DEVICE.type == "cuda":
        wide = {"ktrdr, bfloat16": partial(finished, partial(ours, precision="bfloat16"))}
        sizes = (50_000, 160_000, 500_000)
        found.append(training(WIDE, sizes, 3, wide, kind="mlp", batch=8192, epochs=4, hidden=(4096,) * 3))
    for kind, sizes in (("mlp", (10_000, 100_000, 1_000_000)), ("lstm", (1_000, 5_000, 20_000))):
        found.append(
            Contest(
                f"prediction, {kind}",
                {"ktrdr": predict, "bare forward": bare_forward},
                partial(rows_of, kind),
                sizes=tuple(size // 50 for size in sizes) if quick else sizes,
                unit="rows",
                rounds=1 if quick else 5,
                clock=clock,
                memory=not quick,
            )
        )
    return found


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield ratios and memory with their limits."""
    if quick:
        return
    clock = "cpu" if DEVICE.type == "cpu" else "wall"
    for name, size in ((SMALL, 5_700), (LARGE, 500_000), (LSTM, 11_000)):
        of = f"{name}, {size:,} samples"
        bare_ratio = find(rows, f"training, {name}", "bare loop", size)[f"ratio_{clock}"]["median"]
        yield Figure(f"ours beside the bare loop: {of}", 1 / bare_ratio, "times", at_most=1.3)
        if name != LSTM:
            ratio = find(rows, f"training, {name}", "DataLoader", size)[f"ratio_{clock}"]["median"]
            yield Figure(f"DataLoader beside ours: {of}", ratio, "times", at_least=5.0, of="the same batch size")
    single = find(rows, f"training, {SMALL}", "DataLoader, one by one", 5_700)[f"ratio_{clock}"]["median"]
    yield Figure("DataLoader, one by one, beside ours: mlp, 5,700 samples", single, "times", at_least=5.0)
    if DEVICE.type == "cpu":
        for kind, samples, batch in (("mlp", 500_000, 1024), ("lstm", 100_000, 512)):
            facts = reported(__file__, f"memory({kind!r}, {samples}, {batch})")
            of = f"{kind}, {samples:,} samples, batches of {batch:,}"
            share = (facts["matrix"] + max(facts["added"] - facts["network"], 0)) / facts["matrix"]
            note = f"matrix {facts['matrix']:.0f} MiB, network and its batches {facts['network']:.0f} MiB"
            yield Figure(f"memory of training beside the matrix: {of}", share, "times", at_most=2.0, of=note)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
