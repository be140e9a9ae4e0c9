"""The `ktrdr` command line."""
