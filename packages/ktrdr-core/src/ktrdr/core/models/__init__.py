"""Model bundles: manifest, store, verification."""
