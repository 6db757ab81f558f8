# Layer 2 for a linear model at many strengths: the rows of its weights, which are brought up to date and stepped;
# included by variant.pyx after linear.pxi. Each strength has the bits of a single model: the same scalar functions, and
# the same order of sums.
#
# All that belongs to a feature lies in one record, where the strengths lie side by side: loops over them are vectorised
# (a loop over a constant number of them was not: gcc unrolls it). FTRL keeps no weights: they follow from its state.

cdef enum:
    ROWS_AHEAD = 3  # records that are prefetched: each is several cache lines
    MOST = 64       # strengths that are worked on together, with local arrays; a multiple of VECTOR


cdef inline void prefetch_record(const Columns* v, Py_ssize_t i) noexcept nogil:
    cdef const char* start = v.records + i*v.t.stamp_pitch
    prefetch_range(start, start + v.t.stamp_pitch)


cdef inline long long* steps_at(const Columns* v, Py_ssize_t i) noexcept nogil:
    """The steps with which row i is up to date."""
    return <long long*>(v.t.stamps + i*v.t.stamp_pitch)


cdef inline double* stamps_at(const Columns* v, Py_ssize_t i) noexcept nogil:
    """For PLAIN, the stamps of row i by strength: first the inverses, then the totals."""
    return <double*>(v.inverses + i*v.t.stamp_pitch)


cdef inline floating factor_of(const Columns* v, Py_ssize_t i, floating one) noexcept nogil:
    """The penalty factor of row i."""
    return one if v.t.f == NULL else (<const floating*>v.t.f)[i]


cdef inline floating unit_of(const Columns* v, floating factor) noexcept nogil:
    """What l2 is multiplied by before the factor: see penalty_at."""
    return factor if v.t.in_units else <floating>1


cdef inline void stamp_row(const Lazy* d, const Columns* v, const double* clock, long long steps, Py_ssize_t i,
                           const floating* w) noexcept nogil:
    """Row i is up to date with these steps, and for PLAIN with this clock. Zeros need no stamp: they stay zero."""
    cdef Py_ssize_t first, last, k
    if Lazy is not FTRL:
        steps_at(v, i)[0] = steps
    if Lazy is Plain:
        for k in range(v.t.width):
            active_range(w + k*v.lanes, v.lanes, &first, &last)
            copy_all(clock + v.lanes + first, stamps_at(v, i) + first, last - first)
            copy_all(clock + 2*v.lanes + first, stamps_at(v, i) + v.lanes + first, last - first)


cdef inline void stamp_rows(const Lazy* d, const Columns* v, const floating* _) noexcept nogil:
    """All rows are up to date."""
    cdef Py_ssize_t i
    if Lazy is not FTRL:
        for i in range(v.t.rows):
            stamp_row(d, v, v.clock, v.t.steps, i, <const floating*>v.t.w + i*v.t.pitch)


cdef inline bint is_zero(const floating* w) noexcept nogil:
    """Whether VECTOR weights are zero, all bits of them."""
    cdef unsigned long long[VECTOR] bits
    memcpy(bits, w, VECTOR*sizeof(floating))
    if floating is float:
        return (bits[0] | bits[1] | bits[2] | bits[3]) == 0
    else:
        return ((bits[0] | bits[1] | bits[2] | bits[3]) | (bits[4] | bits[5] | bits[6] | bits[7])) == 0


cdef inline void active_range(const floating* w, Py_ssize_t n, Py_ssize_t* first, Py_ssize_t* last) noexcept nogil:
    """Where the weights that are not zero begin and end, in whole VECTORs: often the strongest strengths have none."""
    cdef Py_ssize_t low = 0, high = n
    while low < high and is_zero(w + low):
        low += VECTOR
    while low < high and is_zero(w + high - VECTOR):
        high -= VECTOR
    first[0], last[0] = low, high


cdef inline void copy_all(const floating* there, floating* here, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(n):
        here[c] = there[c]


cdef inline void catch_up_adagrad(const Adagrad* d, const floating* l1, const floating* l2, floating f, floating unit,
                                  long long steps, Py_ssize_t n, floating* w, const floating* a) noexcept nogil:
    """catch_up of n weights, at most MOST, that have missed the same steps: their digits are those of all of them.

    Weights that surely end at zero come first: what is left are often a few of the weakest strengths.
    """
    cdef double[MOST] shrinkage, threshold, power, sum, a_power, a_sum
    cdef Missed since
    cdef ElasticNet p
    cdef long long left = steps
    cdef Py_ssize_t first, last, c
    for c in range(n):
        p = ElasticNet(l1[c], l2[c]*unit)
        step_without_gradient(d, &p, a[c], f, &shrinkage[c], &threshold[c])
    for c in range(n):
        w[c] = w[c]*0 + 0 if ends_at_zero(w[c], threshold[c], steps) else w[c]
    active_range(w, n, &first, &last)
    for c in range(first, last):
        power[c], sum[c], a_power[c], a_sum[c] = 1, 0, shrinkage[c], 1
    while left > 0 and first < last:
        if left & 1:
            for c in range(first, last):
                next_digit(1, shrinkage[c], &power[c], &sum[c], &a_power[c], &a_sum[c])
        else:
            for c in range(first, last):
                next_digit(0, shrinkage[c], &power[c], &sum[c], &a_power[c], &a_sum[c])
        left >>= 1
    for c in range(first, last):
        since = repeated(power[c], sum[c], shrinkage[c], threshold[c], steps)
        w[c] = apply_missed(&since, w[c])


cdef inline void catch_up_strengths(const Lazy* d, const Columns* v, Py_ssize_t i, floating* w,
                                    Py_ssize_t* ranges) noexcept nogil:
    """Brings the weights of row i up to date: w, in the record or a copy. FTRL's are written there, and their
    active_range by column to `ranges`, unless it is NULL.
    """
    cdef Py_ssize_t[2] unused
    cdef Py_ssize_t lanes = v.lanes, q = i*v.t.pitch, k
    cdef const floating* a = <const floating*>v.t.a + q
    cdef const floating* b = <const floating*>v.t.b + q
    cdef floating f = factor_of(v, i, <floating>1)
    cdef long long steps = v.t.steps
    if Lazy is FTRL:
        if d.lr == 0:  # no step was made yet
            memset(w, 0, v.t.width*lanes*sizeof(floating))
            if ranges != NULL:
                memset(ranges, 0, 2*v.t.width*sizeof(Py_ssize_t))
            return
    else:
        steps -= steps_at(v, i)[0]
        if steps == 0 or (Lazy is Plain and f == 0):
            return
    for k in range(v.t.width):
        if Lazy is FTRL:
            solve_strengths(d, v, f, w, a, b, &unused[0] if ranges == NULL else ranges + 2*k)
        elif Lazy is Adagrad:
            catch_up_each_adagrad(d, v, f, steps, w, a)
        else:
            catch_up_each_plain(d, v, f, w, stamps_at(v, i))
        w, a, b = w + lanes, a + lanes, b + lanes


cdef inline void solve_strengths(const FTRL* d, const Columns* v, floating f, floating* w, const floating* a,
                                 const floating* b, Py_ssize_t* range_) noexcept nogil:
    """Where z does not reach l1, the weight is zero: neither root nor division is needed."""
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef const floating* l2 = <const floating*>v.last_l2
    cdef floating low = <floating>v.t.low, high = <floating>v.t.high, unit = unit_of(v, f)
    cdef ElasticNet p
    cdef Py_ssize_t c, n = v.lanes, first, last
    for c in range(n):
        p = ElasticNet(l1[c], 0)
        w[c] = <floating>0 if absolute(a[c]) <= l1_threshold(&p, <floating>1, f) else <floating>1
    active_range(w, n, &first, &last)
    range_[0], range_[1] = first, last
    l1, l2, w, a, b = l1 + first, l2 + first, w + first, a + first, b + first
    for c in range(last - first):
        p = ElasticNet(l1[c], l2[c]*unit)
        w[c] = within(solve(d, &p, a[c], b[c], f), low, high)


cdef inline void catch_up_each_adagrad(const Adagrad* d, const Columns* v, floating f, long long steps, floating* w,
                                       const floating* a) noexcept nogil:
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef const floating* l2 = <const floating*>v.last_l2
    cdef Py_ssize_t first, last, c
    active_range(w, v.lanes, &first, &last)
    while first < last:
        c = min(last - first, <Py_ssize_t>MOST)
        catch_up_adagrad(d, l1 + first, l2 + first, f, unit_of(v, f), steps, c, w + first, a + first)
        first += c


cdef inline void catch_up_each_plain(const Plain* d, const Columns* v, floating f, floating* w,
                                     const double* stamps) noexcept nogil:
    cdef Py_ssize_t first, last, c
    cdef const double* product
    cdef const double* inverse
    cdef const double* total
    cdef const double* inverse_then
    cdef const double* total_then
    cdef ElasticNet p = ElasticNet(0, 0)
    cdef Clock now
    cdef Stamp then
    cdef Missed since
    active_range(w, v.lanes, &first, &last)
    product, inverse_then, w = v.clock + first, stamps + first, w + first
    inverse, total, total_then = product + v.lanes, product + 2*v.lanes, inverse_then + v.lanes
    for c in range(last - first):
        now = Clock(product[c], inverse[c], total[c], 0)
        then = Stamp(inverse_then[c], total_then[c])
        since = missed(&now, &then)
        w[c] = catch_up(d, &p, &since, w[c], w, w, f)


cdef inline void step_strengths(const Lazy* d, const Columns* v, Py_ssize_t i, floating x, const floating* slopes,
                                const floating* solved, const Py_ssize_t* ranges) noexcept nogil:
    """A step of row i, which is up to date, with value x of its feature; `solved` are FTRL's weights, with `ranges`."""
    cdef Proximal m = Proximal(0)
    cdef const floating* l1 = <const floating*>v.last_l1
    cdef const floating* l2 = <const floating*>v.last_l2
    cdef const floating* threshold = <const floating*>v.threshold
    cdef const floating* shrinkage = <const floating*>v.shrinkage
    cdef Py_ssize_t lanes = v.lanes, q = i*v.t.pitch, k, c
    cdef floating* w = <floating*>v.t.w + q
    cdef floating* a = <floating*>v.t.a + q
    cdef floating* b = <floating*>v.t.b + q
    cdef floating low = <floating>v.t.low, high = <floating>v.t.high, f = factor_of(v, i, <floating>1), eta
    cdef floating unit = unit_of(v, f)
    cdef ElasticNet p
    for k in range(v.t.width):
        if Lazy is FTRL:
            accumulate_strengths(d, ranges + 2*k, lanes, x, slopes, solved, a, b)
        elif Lazy is Plain and f == 1:
            for c in range(lanes):
                w[c] = within(soft_scaled(w[c] - move(d, slopes[c]*x, a, b, a, &eta), threshold[c], shrinkage[c]), low,
                              high)
        else:
            for c in range(lanes):
                p = ElasticNet(l1[c], l2[c]*unit)
                w[c] = within(step(d, &m, &p, w[c], slopes[c]*x, a + c, b + c, <floating*>NULL, f), low, high)
        w, a, b, solved, slopes = w + lanes, a + lanes, b + lanes, solved + lanes, slopes + lanes


cdef inline void accumulate_strengths(const FTRL* d, const Py_ssize_t* range_, Py_ssize_t n, floating x,
                                      const floating* slopes, const floating* w, floating* a,
                                      floating* b) noexcept nogil:
    cdef Py_ssize_t first = range_[0], last = range_[1], c
    for c in range(first):
        accumulate_at_zero(slopes[c]*x, a + c, b + c)
    for c in range(first, last):
        accumulate(d, w[c], slopes[c]*x, a + c, b + c)
    for c in range(last, n):
        accumulate_at_zero(slopes[c]*x, a + c, b + c)
