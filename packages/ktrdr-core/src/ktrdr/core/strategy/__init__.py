"""The strategy language in YAML: its models, loader, JSON Schema and migration of older files."""
