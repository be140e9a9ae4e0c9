"""Evidence over all trials at hand: superior ability and overfitting."""
