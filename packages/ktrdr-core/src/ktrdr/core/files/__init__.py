"""Files on disk: atomic writes, checked reads, archives."""
