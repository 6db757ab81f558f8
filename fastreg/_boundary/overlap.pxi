# Layer 4, the check for overlap among many arrays. Included by tensors.pyx; uses its cimports.

cdef struct Block:  # the memory of one array that steps write: weights or state of a tensor
    const char* start
    const char* end
    Py_ssize_t index  # of the tensor

cdef struct Blocks:  # sorted by address
    Block* blocks
    Py_ssize_t count


cdef int sort_blocks(Blocks* sorted_blocks, list names, list weights, list states) except -1:
    """Collects the memory that steps write; ValueError if two arrays overlap. An empty array has no block."""
    cdef Py_ssize_t i
    cdef ndarray x
    cdef Block* last = NULL
    cdef const char* start
    written = []
    for i in range(len(weights)):
        for x in (weights[i], *states[i]):
            if PyArray_SIZE(x) > 0:
                written.append((address(x), i, x))
    sorted_blocks.blocks = <Block*>allocate(len(written), sizeof(Block))
    for _, i, x in sorted(written, key=itemgetter(0, 1)):
        start = <const char*>PyArray_DATA(x)
        if last != NULL and start < last.end:
            raise errors.bad_overlap(f"params[{names[last.index]}]", f"params[{names[i]}]")
        last = &sorted_blocks.blocks[sorted_blocks.count]
        last[0] = Block(start, start + PyArray_NBYTES(x), i)
        sorted_blocks.count += 1
    return 0


cdef Py_ssize_t overlapped(const Blocks* x, const char* start, Py_ssize_t size) noexcept:
    """The index of a tensor with weights or state among the `size` bytes from `start`, or -1."""
    cdef Py_ssize_t low = 0, high = x.count, middle
    while low < high:  # the first block that ends after the start
        middle = (low + high) // 2
        if x.blocks[middle].end <= start:
            low = middle + 1
        else:
            high = middle
    if size == 0 or low == x.count or x.blocks[low].start >= start + size:
        return -1
    return x.blocks[low].index
