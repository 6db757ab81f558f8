"""Layers 2 and 3, the compiled loops: no Python object but the capsule that hands them to the boundary."""
