"""The strategy language: models, loader, validation, migration."""
