"""Feature pipeline: computes the input matrix of a model from bars."""
