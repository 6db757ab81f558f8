# Layer 2 for linear models: an epoch over samples. A sample is a lazy step like those of _kernels/lazy.pxi, after which it is
# included, whose gradient comes of the weights that the sample itself has brought up to date.
#
# What an epoch waits for is memory: all that a feature has lies in one record (_boundary/linear.pyx), and samples to come are
# asked for ahead. Where the weights are a vector, a sample's are worked on at a desk, where loops are vectorised.
from fastreg.losses cimport loss, slope
from fastreg.rules cimport absorb

cdef enum:
    LINE = 64  # bytes of memory that come at once


# -- Layer 2: an epoch of a linear model ------------------------------------------------------------------------------

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
      /* The volatile nothing keeps gcc from finding the function without effect, and leaving it out. */
      #define fastreg_prefetch_volatile(address) do { __builtin_prefetch(address); __asm__ volatile(""); } while (0)
    #else
      #define fastreg_prefetch_volatile(address) ((void)0)
    #endif
    """
    void prefetch_volatile "fastreg_prefetch_volatile"(const void* address) noexcept nogil


cdef inline void ask_all(const char* start, const char* stop) noexcept nogil:
    while start < stop:
        prefetch_volatile(start)
        start += LINE


cdef inline void ask_sample(const Sparse* job, Py_ssize_t r, const floating* x, const index* indices) noexcept nogil:
    """Asks for the features of a sample to come: shuffled ones lie anywhere."""
    cdef Py_ssize_t start = job.starts[r], stop = job.starts[r + 1]
    ask_all(<const char*>(x + start), <const char*>(x + stop))
    if not job.shared:
        ask_all(<const char*>(indices + start), <const char*>(indices + stop))


cdef inline double longest_step(const Sparse* job, Py_ssize_t r, double weight) noexcept nogil:
    """The learning rate that at most takes a sample's own loss to its minimum; infinite where none was asked for."""
    cdef double curvature = job.curvature*weight*(job.squares[r] + (job.intercept != NULL)) if job.curvature > 0 else 0
    return 1/curvature if curvature > 0 else INFINITY


cdef inline double inner(const floating* x, const floating* w, Py_ssize_t n) noexcept nogil:
    """Their inner product, in four sums that do not wait for each other."""
    cdef double[4] sums
    cdef Py_ssize_t j, k
    for j in range(4):
        sums[j] = 0
    for k in range(n // 4):
        for j in range(4):
            sums[j] += <double>x[4*k + j]*<double>w[4*k + j]
    for k in range(n - n % 4, n):
        sums[0] += <double>x[k]*<double>w[k]
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


cdef inline double judge(Sparse* job, double margin, double y, double weight) noexcept nogil:
    """The derivative of a sample's loss, which is added up."""
    job.total += weight*loss(job.loss, job.epsilon, margin, y)
    return weight*slope(job.loss, job.epsilon, margin, y)


cdef void learn_vector(Lazy d, Closed m, ElasticNet p, Lazy last, ElasticNet last_p, const Rows* t, Clock next,
                       Sparse* job, floating* w, const index* rows, const floating* x, Py_ssize_t n, double y,
                       double weight, floating* slopes) noexcept nogil:
    """The sample lies on the desk from its margin to its step."""
    cdef Missed* since = <Missed*>job.since
    cdef floating* w_ = <floating*>job.desk
    cdef floating* a_ = w_ + job.longest
    cdef floating* b_ = a_ + job.longest
    cdef floating* g = b_ + job.longest
    cdef double margin = 0 if job.intercept == NULL else (<floating*>job.intercept)[0]
    cdef Py_ssize_t k
    collect(&last, &last_p, t, w, rows, n, since, w_, a_, b_, <floating*>NULL)
    catch_up_all(&last, &last_p, n, since, 1, w_, a_, b_, <const floating*>NULL)
    margin += inner(x, w_, n)
    slopes[0] = <floating>judge(job, margin, y, weight)
    for k in range(n):
        g[k] = slopes[0]*x[k]
    if Lazy is FTRL:  # solved for when they are needed again
        for k in range(n):
            absorb(&d, w_[k], g[k], a_ + k, b_ + k)
    else:
        step_all(&d, &m, &p, n, g, w_, a_, b_, <const floating*>NULL)
    put_back(&d, t, &next, t.steps + 1, w, rows, n, w_, a_, b_)


cdef void learn_matrix(Lazy d, Closed m, ElasticNet p, Lazy last, ElasticNet last_p, const Rows* t, Clock next,
                       Sparse* job, floating* w, const index* rows, const floating* x, Py_ssize_t n, double y,
                       double weight, floating* slopes) noexcept nogil:
    """One class against the rest for each column; y is the number of the sample's own."""
    cdef floating* g = slopes + t.width
    cdef Py_ssize_t c, k
    for c in range(t.width):
        job.margins[c] = 0 if job.intercept == NULL else (<floating*>job.intercept)[c]
    for k in range(n):
        if k + COMING < n:
            ask(&d, t, w, rows[k + COMING])
        arrive(&last, &last_p, t, w, rows[k])
        for c in range(t.width):
            job.margins[c] += <double>x[k]*<double>w[rows[k]*t.pitch + c]
    for c in range(t.width):
        slopes[c] = <floating>judge(job, job.margins[c], 1 if y == c else -1, weight)
    for k in range(n):
        for c in range(t.width):
            g[c] = slopes[c]*x[k]
        leave(&d, &m, &p, t, &next, w, g, rows[k])


cdef void learn(Lazy d, Closed m, ElasticNet p, Rows* t, Sparse* job, floating* w,
                const index* indices) noexcept nogil:
    """For each sample: margins, derivative of the loss, one lazy step of the rows that it has, and of the intercept."""
    cdef floating* slopes = <floating*>job.slopes
    cdef floating* intercept = <floating*>job.intercept
    cdef floating* intercept_a = <floating*>job.intercept_a
    cdef floating* intercept_b = <floating*>job.intercept_b
    cdef const floating* data = <const floating*>job.data
    cdef const floating* x
    cdef const index* rows
    cdef Rows here
    cdef Clock next
    cdef Lazy last, own
    cdef ElasticNet last_p
    cdef ElasticNet free = ElasticNet(0, 0)
    cdef double weight
    cdef Py_ssize_t s, r, c, n
    for s in range(job.count):
        r = job.order[s]
        weight = 1 if job.weights == NULL else job.weights[s]
        if s + 2 < job.count:
            ask_sample(job, job.order[s + 2], data, indices)
        n = job.starts[r + 1] - job.starts[r]
        rows = indices + (0 if job.shared else job.starts[r])
        x = data + job.starts[r]
        last, last_p = d, p
        next = prepare(&d, &m, &p, t, job, s, longest_step(job, r, weight), w)
        here = t[0]
        if here.width == 1:
            learn_vector(d, m, p, last, last_p, &here, next, job, w, rows, x, n, job.targets[r], weight, slopes)
        else:
            learn_matrix(d, m, p, last, last_p, &here, next, job, w, rows, x, n, job.targets[r], weight, slopes)
        if intercept != NULL:
            own = d
            own.lr = job.intercept_rate if job.intercept_rate > 0 else d.lr
            for c in range(here.width):
                intercept[c] = step(&own, &m, &free, intercept[c], slopes[c], intercept_a + c, intercept_b + c,
                                    <floating*>NULL, <const floating*>NULL)
        finish(&d, &p, t, &next, w)
