"""Functions and types that several routes use."""
