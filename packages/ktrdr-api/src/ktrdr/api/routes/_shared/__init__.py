"""What several routes have in common."""
