"""Markets whose process is known: bars made from a published formula and a seed."""
