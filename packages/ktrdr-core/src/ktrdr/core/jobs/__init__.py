"""Descriptions of long work: plain data, from which it can be carried out anywhere."""
