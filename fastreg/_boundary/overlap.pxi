# Layer 4, the check for overlap among many arrays. Included by tensors.pyx and torch_step.pyx; uses their cimports.
from libc.stdlib cimport qsort

cdef struct Block:  # the memory of one array that steps write: weights or state of a tensor
    const char* start
    const char* end
    Py_ssize_t index  # of the tensor

cdef struct Blocks:
    Block* blocks
    Py_ssize_t count


cdef inline void add_block(Blocks* x, const void* start, Py_ssize_t size, Py_ssize_t index) noexcept:
    """Adds the memory of an array. An empty array has no block."""
    if size > 0:
        x.blocks[x.count] = Block(<const char*>start, <const char*>start + size, index)
        x.count += 1


cdef int compare_blocks(const void* x, const void* y) noexcept nogil:
    cdef const Block* first = <const Block*>x
    cdef const Block* second = <const Block*>y
    if first.start != second.start:
        return 1 if first.start > second.start else -1
    return (first.index > second.index) - (first.index < second.index)


cdef Py_ssize_t sort_blocks(Blocks* x) noexcept:
    """Sorts the blocks by address. The position of one that overlaps the block before it, or 0."""
    cdef Py_ssize_t i
    qsort(x.blocks, x.count, sizeof(Block), compare_blocks)
    for i in range(1, x.count):
        if x.blocks[i].start < x.blocks[i - 1].end:
            return i
    return 0


cdef inline Py_ssize_t block_after(const Blocks* x, const char* start) noexcept:
    """The position of the first of the sorted blocks that ends after `start`."""
    cdef Py_ssize_t low = 0, high = x.count, middle
    while low < high:
        middle = (low + high) // 2
        if x.blocks[middle].end <= start:
            low = middle + 1
        else:
            high = middle
    return low


cdef Py_ssize_t overlapped(const Blocks* x, const char* start, Py_ssize_t size) noexcept:
    """The index of a tensor with weights or state among the `size` bytes from `start`, or -1; the blocks are sorted."""
    cdef Py_ssize_t low = block_after(x, start)
    if size == 0 or low == x.count or x.blocks[low].start >= start + size:
        return -1
    return x.blocks[low].index
