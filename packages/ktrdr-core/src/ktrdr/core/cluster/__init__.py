"""What API and workers share: settings of Dask, calls by name, and an object store."""
