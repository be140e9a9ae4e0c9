"""Fuzzy sets: degrees of membership of a value in sets such as `low` and `high`."""
