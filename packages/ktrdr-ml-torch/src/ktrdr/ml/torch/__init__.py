"""PyTorch backend of KTRDR: mlp, lstm, gru and anfis models."""

__version__ = "0.1.0"
