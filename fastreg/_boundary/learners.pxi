# Layer 4, what a linear model and one at many strengths have in common: their counters, and the samples that they learn
# from. Included by linear.pyx; uses its cimports. strengths.pyx gets it from linear.pxd.

cdef class BaseLearner:
    """What `Learner` and `StrengthLearner` have in common."""

    def __cinit__(self):
        self.section, self.counts, self.sizes = Section(), Counts(0, 0), ()

    @property
    def epochs(self):
        """Number of epochs of the last call."""
        return self.counts.epochs

    @property
    def center(self):
        """Where the intercept starts; added to all margins."""
        return self.counts.center

    @property
    def version(self):
        """A number that changes with every commit."""
        return self.section.version


cdef tuple counters_of(BaseLearner self):
    """The arguments of `set_counters`."""
    return self.counts.epochs, self.counts.center, self.sizes


cdef int set_counters(BaseLearner self, tuple counters) except -1:
    cdef Counts counts
    counts.epochs, counts.center, sizes = counters
    self.counts, self.sizes = counts, sizes
    return 0


cdef int check_width(const Rows* t, Py_ssize_t features) except -1:
    if features != t.rows:
        raise ValueError(f"X: expected {t.rows} features, as in the first call, got {features}")
    return 0


cdef tuple take_samples(BaseLearner self, object prepare, const Rows* t, Batch* batch, Schedule* schedule,
                        Learning* learning, Counts* counts):
    """Call `prepare` (see Learner.learn), and point to what it returns, after checks: the samples, the penalty factors
    and the sizes, which are not checked, and the arrays that must live as long as the pointers to them.
    """
    cdef ndarray order, targets, weights, offsets, x
    cdef Numbers[6] numbers
    cdef Py_ssize_t rows, size, i
    memset(learning, 0, sizeof(Learning))
    (samples, order, targets, weights, offsets, strengths, learning.loss.code, learning.loss.parameter,
     learning.curvature, learning.intercept_rate, counts.epochs, counts.center, sizes, factors) = prepare()
    check_width(t, samples.features)
    point_to(batch, samples, NPY_FLOAT if t.dtype == FLOAT32 else NPY_DOUBLE)
    rows = batch.count
    learning.count, learning.longest = PyArray_SIZE(order), samples.longest
    learning.order = <Py_ssize_t*>pointer_to(order, NPY_INTP, learning.count, "order")
    learning.targets = <double*>pointer_to(targets, NPY_DOUBLE, rows, "y")
    if weights is not None:
        learning.weights = <double*>pointer_to(weights, NPY_DOUBLE, learning.count, "sample_weight")
    if offsets is not None:
        learning.offsets = <double*>pointer_to(offsets, NPY_DOUBLE, rows, "offset")
    learning.center = counts.center
    if len(strengths) != 6:
        raise ValueError(f"strengths: expected 6 arrays, got {len(strengths)}")
    for i, x in enumerate(strengths):
        size = PyArray_SIZE(x)
        if size != 1 and size != learning.count:
            raise ValueError(f"strengths: expected 1 or {learning.count} numbers, got {size}")
        numbers[i] = Numbers(<double*>pointer_to(x, NPY_DOUBLE, size, "strengths"), size > 1)
    schedule[0] = Schedule(numbers[0], numbers[1], numbers[2], numbers[3])
    learning.intercept_rates = numbers[4] if learning.intercept_rate > 0 else Numbers(NULL, 0)
    learning.intercept_squares = numbers[5]
    learning.intercept, learning.intercept_a = self.intercept_data[0], self.intercept_data[1]
    learning.intercept_b = self.intercept_data[2]
    return samples, factors, sizes, (order, targets, weights, offsets, strengths)
