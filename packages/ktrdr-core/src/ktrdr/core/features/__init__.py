"""Features: bars in, the matrix a model sees out."""
