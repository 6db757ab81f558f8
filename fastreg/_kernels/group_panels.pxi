# Layer 2: a step of a task with l21 in passes over its panels, included by variant.pyx after groups.pxi.
#
# As update_groups, with the same bits, but threads share the lines. If they shared the groups, each would read short
# parts of lines, far from each other: with 16 threads, that took 4 to 6 times as long as the elastic net in memory.

cdef enum Pass:
    FIRST_PASS  # the step of the coordinates, and the first sums
    SEARCH_PASS
    SHRINK_PASS

cdef struct Passes:  # the memory of a task's passes. Blocks follow, then sums: by panel, by block
    Pass next
    Py_ssize_t iteration


cdef inline Py_ssize_t blocks_of(const Task* t) noexcept nogil:
    return parts_of(t.groups, groups_at_once(t))


cdef Py_ssize_t passes_size(const Task* t) noexcept nogil:
    """The bytes of memory for the passes of a task. They must be zero at first; then steps can follow each other."""
    return (sizeof(Passes) + blocks_of(t)*<Py_ssize_t>sizeof(Block)
            + panels_of(t)*t.groups*GROUP_SUMS*<Py_ssize_t>sizeof(double))


cdef inline Block* block_at(void* memory, Py_ssize_t i) noexcept nogil:
    return <Block*>(<char*>memory + sizeof(Passes)) + i


cdef inline double* sums_at(const Task* t, void* memory, Py_ssize_t panel, Py_ssize_t first) noexcept nogil:
    """Those of the groups of a block from `first`."""
    return <double*>block_at(memory, blocks_of(t)) + (panel*t.groups + first)*GROUP_SUMS


cdef void pass_panel(const Task* t, void* memory, Py_ssize_t panel) noexcept nogil:
    """A pass over a panel."""
    cdef Py_ssize_t i, first
    cdef Task s = panel_of(t, panel), u
    for i in range(blocks_of(t)):
        first = groups_at_once(t)*i
        u = shifted(&s, first*t.inner, t.n)
        u.groups = min(t.groups - first, groups_at_once(t))
        if t.dtype == FLOAT64:
            pass_block(&u, (<Passes*>memory).next, block_at(memory, i), sums_at(t, memory, panel, first),
                       <const double*>u.f)
        else:
            pass_block(&u, (<Passes*>memory).next, block_at(memory, i), sums_at(t, memory, panel, first),
                       <const float*>u.f)


cdef void pass_block(const Task* t, Pass this, const Block* shared, double* sums, const floating* f) noexcept nogil:
    """A pass over the part of a block in a panel. The shared block has the norms, and sums get those of the part."""
    cdef floating[HELD + PADDING] x_
    cdef floating[HELD + PADDING] h_
    cdef floating[GROUPS_AT_ONCE] norm, l21
    cdef Py_ssize_t i
    cdef Block b
    b.count, b.is_held = t.groups, False
    set_strengths(t, b.count, f, l21)
    if this != FIRST_PASS:
        copy_norms(shared, norm)
    if this == SHRINK_PASS:
        shrink_block(t, &b, norm, l21, x_, h_)
        return
    if this == SEARCH_PASS:
        add_block(Slopes(0), t, &b, False, norm, l21, x_, h_)
    elif even_metric(t) != 0:
        add_block(Squares(0), t, &b, True, l21, l21, x_, h_)
    else:
        add_block(Moments(0), t, &b, True, l21, l21, x_, h_)
    for i in range(1 if even_metric(t) != 0 else GROUP_SUMS):
        memcpy(sums + i*b.count, b.sums + i*GROUPS_AT_ONCE, b.count*sizeof(double))


cdef bint end_pass(const Task* t, void* memory) noexcept nogil:
    """After a pass over all panels; whether another one follows, or the step is complete."""
    cdef Passes* passes = <Passes*>memory
    cdef Py_ssize_t i, first
    cdef bint is_searched = False
    cdef Task s
    if passes.next == SHRINK_PASS:
        memset(passes, 0, sizeof(Passes))
        return False
    for i in range(blocks_of(t)):
        first = groups_at_once(t)*i
        s = shifted(t, first*t.inner, t.n)
        block_at(memory, i).count = min(t.groups - first, groups_at_once(t))
        if t.dtype == FLOAT64:
            is_searched |= end_block(&s, passes.next, block_at(memory, i), sums_at(t, memory, 0, first),
                                     <const double*>s.f)
        else:
            is_searched |= end_block(&s, passes.next, block_at(memory, i), sums_at(t, memory, 0, first),
                                     <const float*>s.f)
    passes.iteration += passes.next == SEARCH_PASS
    passes.next = SEARCH_PASS if is_searched and passes.iteration < MOST_ITERATIONS else SHRINK_PASS
    return True


cdef void add_parts(Sums kind, const Task* t, Block* b, const double* parts) noexcept nogil:
    """The sums of a block from those of its panels."""
    cdef Py_ssize_t panel
    clear(kind, b.sums, b.count, GROUPS_AT_ONCE)
    for panel in range(panels_of(t)):
        add_sums(kind, parts + panel*t.groups*GROUP_SUMS, b.count, b.count, b.sums)


cdef bint end_block(const Task* t, Pass this, Block* b, const double* parts, const floating* f) noexcept nogil:
    """After a pass over a block; whether its norms must be improved."""
    cdef floating[GROUPS_AT_ONCE] norm, l21
    set_strengths(t, b.count, f, l21)
    if this == SEARCH_PASS:
        copy_norms(b, norm)
        add_parts(Slopes(0), t, b, parts)
        return improve_block(b, l21, norm)
    if even_metric(t) != 0:
        add_parts(Squares(0), t, b, parts)
    else:
        add_parts(Moments(0), t, b, parts)
    return first_norms(t, b, f, l21)
