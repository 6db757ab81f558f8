# Layer 4, what a linear model and one at many strengths have in common: their counters, and the samples that they learn
# from. Included by linear.pyx; uses its cimports. strengths.pyx gets it from linear.pxd.

cdef class BaseLearner:
    """What `Learner` and `StrengthLearner` have in common."""

    def __cinit__(self):
        self.section, self.counts = Section(), Counts(0, 0, 1, 0, 0, 0, 1)

    @property
    def epochs(self):
        """Number of epochs of the last call."""
        return self.counts.epochs

    @property
    def sizes(self):
        """The sum of the samples' sizes, and the number of samples in it."""
        return self.counts.size, self.counts.sized

    @property
    def scale(self):
        """The mean size of the samples when their number last reached a power of 2."""
        return self.counts.scale

    @property
    def center(self):
        """Where the intercept starts; added to all margins."""
        return self.counts.center

    @property
    def levels(self):
        """The sum of the targets' distances from `center`, and the size of targets that the learning rates use."""
        return self.counts.distance, self.counts.level

    @property
    def version(self):
        """A number that changes with every commit."""
        return self.section.version


cdef tuple counters_of(BaseLearner self):
    """The arguments of `set_counters`."""
    return (self.counts.size, self.counts.sized, self.counts.scale, self.counts.epochs, self.counts.center,
            self.counts.distance, self.counts.level)


cdef int set_counters(BaseLearner self, tuple counters) except -1:
    cdef Counts counts
    counts.size, counts.sized, counts.scale, counts.epochs, counts.center, counts.distance, counts.level = counters
    self.counts = counts
    return 0


cdef int check_width(const Rows* t, Py_ssize_t features) except -1:
    if features != t.rows:
        raise ValueError(f"X: expected {t.rows} features, as in the first call, got {features}")
    return 0


cdef tuple take_samples(BaseLearner self, object prepare, const Rows* t, Batch* batch, Schedule* schedule,
                        Learning* learning, Counts* counts):
    """Call `prepare` (see Learner.learn), and point to what it returns, after checks: the samples, the penalty factors,
    which are not checked, and the arrays that must live as long as the pointers to them.
    """
    cdef ndarray order, targets, weights, offsets, strengths
    cdef const double* numbers
    cdef Py_ssize_t rows, columns
    memset(learning, 0, sizeof(Learning))
    (samples, order, targets, weights, offsets, strengths, learning.loss.code, learning.loss.parameter,
     learning.curvature, learning.intercept_rate, counts.size, counts.sized, counts.scale, counts.epochs,
     counts.center, counts.distance, counts.level, factors) = prepare()
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
    columns = PyArray_DIM(strengths, 1)
    if columns != 1 and columns != learning.count:
        raise ValueError(f"strengths: expected 1 or {learning.count} columns, got {columns}")
    numbers = <double*>pointer_to(strengths, NPY_DOUBLE, 5*columns, "strengths")
    schedule[0] = Schedule(numbers, numbers + columns, numbers + 2*columns, columns > 1, numbers + 3*columns)
    learning.intercept_rates = numbers + 4*columns if learning.intercept_rate > 0 else NULL
    learning.intercept, learning.intercept_a = self.intercept_data[0], self.intercept_data[1]
    learning.intercept_b = self.intercept_data[2]
    return samples, factors, (order, targets, weights, offsets, strengths)
