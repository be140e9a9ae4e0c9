"""Bars in the files of vendors: found, read and checked."""
