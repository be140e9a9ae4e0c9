"""PyTorch backend of KTRDR: mlp, lstm, gru and anfis models."""
