"""Epochs of the torch backend beside a bare loop and torch's DataLoader, and the memory that training takes.

Run with `python benchmarks/training.py` (a few minutes). What runs:

- *ours*: `TorchTrainer.train` as KTRDR calls it, everything included: shuffling, progress, cancellation, accuracy, the
  validation loss, the copy of the best epoch.
- *bare*: the shortest loop one would write, on tensors that are already on the device: shuffle, index, step, and the
  validation loss. *bare, fused* is the same with torch's fused optimizer, which ours uses too.
- *DataLoader*: the same with `DataLoader(TensorDataset(...), batch_size, shuffle=True)`, every other setting as it is.
  *DataLoader, one by one* keeps the default batch size of 1 as well; it is timed on a part of the samples.

All take turns in every round, and the ratios are medians over the rounds. On the CPU each has one thread, and what is
counted is the processor time of this process: other programs on the machine do not count, though they share its caches.
On a GPU wall time is counted, and the mlp is also timed with bfloat16 products where it is large.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ktrdr.core.operations import NO_PROGRESS, Cancellation
from ktrdr.core.parameters import validate_parameters
from ktrdr.core.plugins import Split, TrainingData, TrainingTask
from ktrdr.core.strategy.model import CLASSES, Labels, Training
from ktrdr.ml.torch.declaration import MODEL_TYPES
from ktrdr.ml.torch.trainer import TorchTrainer

FEATURES = 12
HIDDEN = (64, 32)
STEPS = 20
ONE_BY_ONE = 1_000


def task_of(kind: str, batch: int, epochs: int, device: str, **architecture: Any) -> TrainingTask:
    """Return what core would hand to the backend."""
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
    """Return ``samples`` training samples and 15/70 of that for validation."""
    random = np.random.default_rng(0)
    rows = samples + samples * 15 // 70 + window - 1
    features = random.random((rows, FEATURES), dtype=np.float32)
    labels = np.digitize(features[:, 0] - features[:, 1], [-0.25, 0.25]).astype(np.int64)
    places = np.arange(window - 1, rows)
    parts = (places[:samples], places[samples:])
    train, validation = (Split(part, labels[part], np.ones(len(part), np.float32)) for part in parts)
    return TrainingData(features, train, validation)


class Recurrent(nn.Module):
    """The network of the lstm, as torch offers it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(FEATURES, 64, num_layers=2, dropout=0.2, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(64, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.dropout(self.layers(x)[0][:, -1]))


def network_of(kind: str, hidden: tuple[int, ...]) -> nn.Module:
    """Return the same network, written as one would."""
    if kind == "lstm":
        return Recurrent()
    layers: list[nn.Module] = []
    for inputs, outputs in zip((FEATURES, *hidden), hidden, strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 3))


class Contest:
    """One problem and everyone who trains on it."""

    def __init__(self, kind: str, samples: int, batch: int, epochs: int, device: str, hidden: tuple[int, ...]) -> None:
        self.kind, self.samples, self.batch, self.epochs = kind, samples, batch, epochs
        self.device, self.hidden = torch.device(device), hidden
        self.window = STEPS if kind == "lstm" else 1
        self.data = data_of(samples, self.window)
        features = torch.from_numpy(self.data.features)
        # Every window, materialized: the bare loops are spared the gathering.
        x = features.unfold(0, STEPS, 1).transpose(1, 2).contiguous() if kind == "lstm" else features
        y = torch.from_numpy(np.concatenate([self.data.train.labels, self.data.validation.labels]))
        self.x, self.x_val = x[:samples].to(self.device), x[samples:].to(self.device)
        self.y, self.y_val = y[:samples].to(self.device), y[samples:].to(self.device)

    def ours(self, **architecture: Any) -> None:
        """Train with the backend."""
        given = {"hidden_layers": list(self.hidden)} if self.kind == "mlp" else {"sequence_length": STEPS}
        task = task_of(self.kind, self.batch, self.epochs, str(self.device), **given, **architecture)
        TorchTrainer().train(task, self.data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None)

    def bare(self, *, fused: bool | None = None) -> None:
        """Train with the shortest loop."""
        x, y, size = self.x, self.y, self.batch

        def batches() -> Any:
            order = torch.randperm(len(x), device=x.device)
            return ((x[order[at : at + size]], y[order[at : at + size]]) for at in range(0, len(x), size))

        self._loop(batches, self.epochs, fused)

    def loader(self) -> None:
        """Train with DataLoader in its default settings, but for the size of a batch."""
        dataset = torch.utils.data.TensorDataset(self.x.cpu(), self.y.cpu())
        loader = torch.utils.data.DataLoader(dataset, batch_size=self.batch, shuffle=True)
        self._loop(lambda: ((x.to(self.device), y.to(self.device)) for x, y in loader), self.epochs, None)

    def one_by_one(self) -> None:
        """Train an epoch of some of the samples with DataLoader in its default settings."""
        dataset = torch.utils.data.TensorDataset(self.x[:ONE_BY_ONE].cpu(), self.y[:ONE_BY_ONE].cpu())
        loader = torch.utils.data.DataLoader(dataset)
        self._loop(lambda: ((x.to(self.device), y.to(self.device)) for x, y in loader), 1, None)

    def _loop(self, batches: Callable[[], Any], epochs: int, fused: bool | None) -> None:
        network = network_of(self.kind, self.hidden).to(self.device)
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
                for at in range(0, len(self.x_val), 1024):
                    score = network(self.x_val[at : at + 1024])
                    nn.functional.cross_entropy(score, self.y_val[at : at + 1024], reduction="sum").item()

    def seconds(self, work: Callable[[], None]) -> float:
        """Return what ``work`` took: processor time, or wall time where a GPU does it."""
        gc.collect()
        if self.device.type == "cpu":
            began = time.process_time()
            work()
            return time.process_time() - began
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - began

    def run(self, rounds: int) -> dict[str, Any]:
        """Let everyone take turns; return medians of seconds per epoch and of ratios to ours."""
        share = ONE_BY_ONE / self.samples
        runners: dict[str, tuple[Callable[[], None], float]] = {
            "ours": (self.ours, self.epochs),
            "bare": (self.bare, self.epochs),
            "bare, fused": (lambda: self.bare(fused=True), self.epochs),
            "DataLoader": (self.loader, self.epochs),
        }
        if self.kind == "mlp":
            runners["DataLoader, one by one"] = (self.one_by_one, share)
        if self.device.type == "cuda" and self.kind == "mlp":
            runners["ours, bfloat16"] = (lambda: self.ours(precision="bfloat16"), self.epochs)
        times: dict[str, list[float]] = {name: [] for name in runners}
        for number in range(rounds + 1):
            for name, (work, epochs) in runners.items():
                taken = self.seconds(work) / epochs
                if number:  # the first round warms up
                    times[name].append(taken)
        ratios = {
            name: statistics.median(a / b for a, b in zip(others, times["ours"], strict=True))
            for name, others in times.items()
        }
        label = f"{self.kind} {'x'.join(map(str, self.hidden)) if self.kind == 'mlp' else '64x2, 20 steps'}"
        return {
            "problem": f"{label}, {self.samples:,} samples, batches of {self.batch:,}",
            "seconds_per_epoch": {name: statistics.median(values) for name, values in times.items()},
            "others_to_ours": ratios,
        }


def peak_kib() -> int:
    """Return the most resident memory so far, in KiB."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)


def memory(kind: str, samples: int, batch: int) -> None:
    """Train once and print as JSON what it added to the process, in a process of its own."""
    given = {"sequence_length": STEPS} if kind == "lstm" else {"hidden_layers": list(HIDDEN)}
    window = STEPS if kind == "lstm" else 1

    def work(data: TrainingData, epochs: int) -> None:
        task = task_of(kind, batch, epochs, "cpu", **given)
        TorchTrainer().train(task, data, progress=NO_PROGRESS, cancellation=Cancellation(), checkpoint=None)

    def added_by(data: TrainingData, epochs: int) -> int:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_kib() * 1024
        work(data, epochs)
        return peak_kib() * 1024 - before

    few = data_of(batch * 4, window)
    work(few, 1)  # code that any training loads
    # The network, its optimizer, and what many batches make of them: the same for any number of samples.
    network = added_by(few, 50)
    data = data_of(samples, window)
    added = added_by(data, 2)
    matrix = data.features.nbytes
    splits = sum(part.rows.nbytes + part.labels.nbytes + part.weights.nbytes for part in (data.train, data.validation))
    name = f"{kind}, {samples:,} samples, batches of {batch:,}"
    share = (matrix + max(added - network, 0)) / matrix
    facts = {"problem": name, "matrix": matrix, "splits": splits, "added": added, "network": network, "share": share}
    print(json.dumps(facts))


def measure_memory() -> list[dict[str, Any]]:
    """Return the memory of trainings that are large enough to see."""
    if not Path("/proc/self/clear_refs").exists():
        return []
    found = []
    for arguments in (("mlp", 500_000, 1024), ("mlp", 2_000_000, 4096), ("lstm", 100_000, 512)):
        command = [sys.executable, __file__, "--memory", ",".join(map(str, arguments))]
        found.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="", help="contests whose name holds this")
    parser.add_argument("--full", action="store_true", help="also 500,000 samples in batches of 32: many minutes")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        kind, samples, batch = given.memory.split(",")
        memory(kind, int(samples), int(batch))
        return

    contests: list[tuple[str, str, int, int, int, tuple[int, ...]]] = [
        ("mlp-small", "mlp", 5_700, 32, 8, HIDDEN),
        ("mlp-large", "mlp", 500_000, 1024, 1, HIDDEN),
        ("lstm", "lstm", 11_000, 32, 1, HIDDEN),
    ]
    if given.full:
        contests.append(("mlp-large-in-small-batches", "mlp", 500_000, 32, 1, HIDDEN))
    if given.device != "cpu":
        contests.append(("mlp-wide", "mlp", 500_000, 8192, 4, (4096, 4096, 4096)))
    results = []
    for name, kind, samples, batch, epochs, hidden in contests:
        if given.only in name:
            results.append(Contest(kind, samples, batch, epochs, given.device, hidden).run(given.rounds))
            if not given.json:
                show(results[-1])
    used = [] if given.no_memory or given.device != "cpu" else measure_memory()
    if given.json:
        json.dump({"device": given.device, "contests": results, "memory": used}, sys.stdout, indent=2)
        return
    for facts in used:
        mib = {name: value / 2**20 for name, value in facts.items() if name != "problem"}
        print(
            f"memory: {facts['problem']}: matrix {mib['matrix']:.1f} MiB, training adds {mib['added']:.1f} MiB, of "
            f"which {mib['network']:.1f} for the network and its batches\n"
            f"  matrix and the rest: {facts['share']:.2f}x the matrix (aim: under 2)"
        )


def show(result: dict[str, Any]) -> None:
    """Print one contest."""
    aim = f"bare no less than {1 / 1.3:.2f}x"
    if result["problem"].startswith("mlp"):
        aim += ", DataLoader at least 5x"
    print(f"{result['problem']} (aim: {aim})", flush=True)
    for name, seconds in result["seconds_per_epoch"].items():
        print(
            f"  {name:<24} {seconds * 1e3:10.1f} ms per epoch   {result['others_to_ours'][name]:6.2f}x ours", flush=True
        )


if __name__ == "__main__":
    main()
