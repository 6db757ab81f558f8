"""Names as codes, and tuples of the reference as structs, for the other modules of the boundary: nothing for Python."""
