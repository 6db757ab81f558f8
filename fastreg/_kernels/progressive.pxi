# Layer 2 for progressive validation: the mean of losses that come one by one, and what its standard error needs;
# included by variant.pyx.
#
# The means are weighted: m = Σ v·l / Σ v. Kept are A = Σ v², and for each strength B = Σ v²·(l − m) and
# Q = Σ v²·(l − m)². Updates around the present mean (Welford, 1962) do not cancel, however long the stream is. Where
# all weights are equal, B is zero. Standard errors of differences between strengths were rejected: see
# linear/progress.py.

cdef void judge(Progress* p, const double* losses, double weight, Py_ssize_t lanes) noexcept nogil:
    """The losses of one more sample, times its weight, by strength."""
    cdef double* means = p.means
    cdef double* firsts = p.firsts
    cdef double* seconds = p.seconds
    cdef double share, factor, drift, error
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
    if p.first == p.first:
        for i in range(lanes):
            error = losses[i]/weight - means[i]
            seconds[i] += factor*(error*error)
            means[i] += share*error
    else:
        drift = weight*weight*(1 - share) - share*p.squares
        for i in range(lanes):
            error = losses[i]/weight - means[i]
            seconds[i] += error*(factor*error - 2*share*firsts[i])
            means[i] += share*error
            firsts[i] += drift*error
    p.squares += weight*weight
