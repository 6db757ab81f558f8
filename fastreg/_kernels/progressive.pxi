# Layer 2 for progressive validation: the mean of losses that come one by one, and what its standard error needs;
# included by variant.pyx.
#
# The means are weighted: m = Σ v·l / Σ v. Kept are A = Σ v², for each strength B = Σ v²·(l − m), and for each pair
# Q = Σ v²·(d − Σ v·d / Σ v)² with d the difference of the losses of two strengths, or the loss itself. Updates around
# the present mean (Welford, 1962), and differences before squares: nothing cancels, however long the stream and however
# close the strengths are. Where all weights are equal, B is zero.

cdef void judge(Progress* p, const double* losses, double weight, Py_ssize_t count, Py_ssize_t lanes) noexcept nogil:
    """The losses of one more sample, times its weight, by strength; the last row of `seconds` has no other strength."""
    cdef double* errors = p.errors
    cdef double* shifts = p.errors + lanes + 1
    cdef double share, factor, drift
    cdef Py_ssize_t i
    if not weight > 0:
        return
    if p.count == 0:
        p.first = weight
    elif weight != p.first:
        p.first = NAN
    p.count += 1
    p.weight += weight
    share = weight/p.weight
    factor = share*share*p.squares + (weight*(1 - share))*(weight*(1 - share))
    drift = weight*weight*(1 - share) - share*p.squares if p.first != p.first else 0
    errors[lanes] = shifts[lanes] = 0
    for i in range(lanes):
        errors[i], shifts[i] = losses[i]/weight - p.means[i], 2*share*p.firsts[i]
    for i in range(1, lanes + 1):
        if i < count:
            add_pairs(p.seconds + i*lanes, errors, shifts, i, i, factor, p.first != p.first)
    add_pairs(p.seconds + lanes*lanes, errors, shifts, lanes, count, factor, p.first != p.first)
    for i in range(lanes):
        p.means[i] += share*errors[i]
        p.firsts[i] += drift*errors[i]
    p.squares += weight*weight


cdef inline void add_pairs(double* seconds, const double* errors, const double* shifts, Py_ssize_t i, Py_ssize_t count,
                           double factor, bint shifted) noexcept nogil:
    """The pairs of strength i with those before it."""
    cdef double error
    cdef Py_ssize_t j
    if shifted:
        for j in range(count):
            error = errors[i] - errors[j]
            seconds[j] += error*(factor*error - (shifts[i] - shifts[j]))
    else:
        for j in range(count):
            error = errors[i] - errors[j]
            seconds[j] += factor*(error*error)
