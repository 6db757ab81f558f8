"""Layers 2 and 3, the compiled loops: no Python object but the capsule that passes them to the boundary."""
