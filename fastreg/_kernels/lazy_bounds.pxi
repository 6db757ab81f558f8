# Layer 2 for gradients with few rows: weights that start outside their bounds; included by variant.pyx after lazy.pxi.

cdef bint all_inside(const Rows* t, const floating* w) noexcept nogil:
    """Whether all weights lie within the bounds; a NaN does not lie outside."""
    cdef floating low = <floating>t.low, high = <floating>t.high
    cdef int outside = 0
    cdef Py_ssize_t i, j
    for i in range(t.rows):
        for j in range(t.width):
            outside |= (w[i*t.pitch + j] < low) | (w[i*t.pitch + j] > high)
    return outside == 0


cdef void move_inside(Lazy d, Factor f, Rows* t, floating* w) noexcept nogil:
    """Moves all weights into the bounds after a step, as a dense step does with those without a gradient, too.

    Nothing is done where all lie inside, so that the bits of a resumed stream do not change. Rows that are groups are
    clipped before their own step. That is exact where they have missed no other (see prepare), and bounds are 0 or
    infinite.
    """
    cdef Py_ssize_t i
    if Lazy is not FTRL:  # its weights are clipped when they are solved for
        if not all_inside(t, w):
            if t.l21 == 0:
                flush(d, f, t, w)
            for i in range(t.rows):
                clip_weights(t, w + i*t.pitch, t.width)
            if t.l21 != 0:
                flush(d, f, t, w)
    t.inside = True
