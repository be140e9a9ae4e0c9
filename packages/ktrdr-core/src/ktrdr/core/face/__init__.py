"""The Python interface: what ``import ktrdr.core as kt`` offers, over the workflows."""
