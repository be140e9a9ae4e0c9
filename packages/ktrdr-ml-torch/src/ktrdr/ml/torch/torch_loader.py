"""Loading of models. Files are checked before anything is built from them, and contain no code."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.files.reading import parse_json, read_plain
from ktrdr.core.limits import LARGEST_JSON
from ktrdr.core.models.contents import BundleError
from ktrdr.ml.torch.devices import resolve_device
from ktrdr.ml.torch.model_description import parse_description
from ktrdr.ml.torch.tensors import read_tensors
from ktrdr.ml.torch.torch_model import TorchPredictor, make_predictor
from ktrdr.ml.torch.torch_storage import MODEL_FILE, WEIGHTS_FILE

__all__ = ["TorchLoader"]


class TorchLoader:
    """Reads the files of :class:`~ktrdr.ml.torch.torch_storage.TorchStorage`, and refuses all others."""

    def load(self, directory: Path, device: str = "auto") -> TorchPredictor:
        """Return a predictor on ``device``.

        Raises:
            BadInputError: the device does not exist, or the files are not a model of this backend.
        """
        place = resolve_device(device)
        value = parse_json(read_plain(directory / MODEL_FILE, LARGEST_JSON), MODEL_FILE)
        description = parse_description(value, MODEL_FILE)
        tensors = read_tensors(directory / WEIGHTS_FILE)
        average = tensors.get("average")
        if average is None or average.shape != (description.input_size,) or not bool(average.isfinite().all()):
            raise BundleError(f"{WEIGHTS_FILE} does not fit {MODEL_FILE}: tensor 'average'")
        if unknown := sorted(name for name in tensors if name != "average" and not name.startswith("network.")):
            raise BundleError(
                f"{WEIGHTS_FILE} contains a tensor {unknown[0]!r}, which models of this backend do not have"
            )
        return make_predictor(description, tensors, place, WEIGHTS_FILE)
