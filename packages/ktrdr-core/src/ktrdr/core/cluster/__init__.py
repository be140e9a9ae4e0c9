"""Parts that the API and workers share: settings of Dask, remote calls by name, and the object store."""
