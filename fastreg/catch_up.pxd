# cython: cdivision=True
# Layer 1, scalar: steps without a gradient, applied later and all at once. Floats and structs only, as rules.pxd.
#
# A coordinate whose gradient is zero is only penalised, and steps of the elastic net compose: after any number of them
# the weight is S(scale·w, threshold). For Plain, both follow from a clock that all coordinates share (Lipton &
# Elkan, "Efficient elastic net regularization for sparse linear models", arXiv 1505.06449); for Adagrad, which has a
# step size for each coordinate that does not change meanwhile, from the number of steps; FTRL solves for the weight
# from its state. Sums over many steps are kept in double. The numbers of each single step are rounded as the dense
# step rounds them.
from fastreg.groups cimport even_factor
from fastreg.rules cimport absolute, adaptive_rate, l1_threshold, l2_shrinkage, soft, solve
from fastreg.structs cimport *


cdef inline void tick(const LazyMode* m, const Penalty* p, floating lr, Clock* now) noexcept nogil:
    """One more step of Plain in the proximal mode, a·(|w| − lr·l1), or the truncated one, |w| − (lr·l2)·|w| − lr·l1.

    MCP without l2 has a = 1/(1 − lr/gamma), for weights up to gamma·l1 and lr < gamma.
    """
    cdef double threshold = l1_threshold(p, lr, <floating>1)
    cdef double before = now.total
    if LazyMode is Proximal:
        threshold = threshold*now.inverse
        if Penalty is MCP:
            now.product = now.product/<double>(<floating>1 - lr/<floating>p.gamma)
        else:
            now.product = now.product*<double>l2_shrinkage(p, lr, <floating>1)
        now.inverse = 1/now.product
    else:
        now.product = now.product*(1 - <double>(lr*<floating>p.l2))
        now.inverse = 1/now.product
        threshold = threshold*now.inverse
    threshold = threshold - now.compensation
    now.total = before + threshold if threshold > 0 else before  # never less: the next, larger term compensates
    now.compensation = (now.total - before) - threshold


cdef inline bint needs_rebase(const Clock* now, double threshold) noexcept nogil:
    """Whether the clock must start again, once all weights are up to date, after a step with this l1 threshold.

    That is where it nears what a double can hold, and where the thresholds of steps like this one begin to be lost in
    the rounding of the total.
    """
    cdef double largest = now.product*now.total  # the largest pending penalty of a weight
    return (not (1e-150 < now.product < 1e150 and now.total < 1e150)
            or (largest > 16 and largest > <double>(1 << 20)*threshold))


cdef inline Missed missed(const Clock* now, const Stamp* then) noexcept nogil:
    """The steps since the time of the stamp; exactly nothing where no step was made."""
    cdef Missed since
    since.scale = now.product*then.inverse if then.inverse != now.inverse else 1
    # Where lr·l1 or lr·l2 overflows, total is infinite or product 0: neither inf − inf nor 0·inf may result.
    since.threshold = now.product*(now.total - then.total) if now.product > 0 and then.total < now.total else 0
    since.steps = 0
    return since


cdef inline floating apply_missed(const Missed* since, floating w) noexcept nogil:
    """The weight after the steps that it has missed."""
    return <floating>soft(since.scale*<double>w, since.threshold)


cdef inline floating mcp_missed(const MCP* p, const Missed* since, floating w, floating f) noexcept nogil:
    """The same for MCP without l2: a weight above gamma·l1 stands still. Rounding must not make a weight grow."""
    cdef floating moved = apply_missed(since, w)
    return w if absolute(w) > <floating>p.gamma*(<floating>p.l1*f) or absolute(moved) > absolute(w) else moved


cdef inline double group_factor(const Missed* since, double norm, double f) noexcept nogil:
    """What the steps that a group with equal step sizes has missed multiply it by, from its norm and its factor."""
    return since.scale*even_factor(since.scale*norm, 1, since.threshold*f)


cdef inline void step_without_gradient(const Adagrad* d, const Penalty* p, floating squares, floating f,
                                       double* shrinkage, double* threshold) noexcept nogil:
    """A step of Adagrad without a gradient is shrinkage·(|w| − threshold)."""
    cdef floating eta = adaptive_rate(d, squares)
    shrinkage[0] = l2_shrinkage(p, eta, f)
    threshold[0] = l1_threshold(p, eta, f)


cdef inline bint ends_at_zero(double w, double threshold, long long steps) noexcept nogil:
    """Whether this number of steps surely leads to zero: each subtracts the threshold, or more."""
    return absolute(w) <= 0.999*(threshold*<double>steps)


cdef inline void next_digit(long long odd, double a, double* power, double* sum, double* a_power,
                            double* a_sum) noexcept nogil:
    """One binary digit of k, the lowest first, on the way to aᵏ and T = 1 + … + aᵏ⁻¹.

    `power` and `sum` are these for the digits so far, `a_power` and `a_sum` for the digit itself. With
    1 − aᵏ = (1 − a)·T nothing cancels; the power is computed from T while that is more accurate.
    """
    cdef double rest = 1 - a
    cdef double more = a_power[0]*sum[0] + a_sum[0]
    cdef double less = 1 - rest*more if rest*more < 0.5 else power[0]*a_power[0]
    sum[0] = more if odd else sum[0]
    power[0] = less if odd else power[0]
    a_sum[0] = a_sum[0]*(1 + a_power[0])
    a_power[0] = 1 - rest*a_sum[0] if rest*a_sum[0] < 0.5 else a_power[0]*a_power[0]


cdef inline Missed repeated(double power, double sum, double a, double threshold, long long steps) noexcept nogil:
    """This number of steps a·(|w| − threshold), from aᵏ and T: in all threshold·(a + … + aᵏ)."""
    return Missed(power, threshold*(a*sum) if a*sum > 0 else 0, steps)  # the threshold may be infinite


cdef inline floating catch_up(const Lazy* d, const Penalty* p, const Missed* since, floating w, const floating* a,
                              const floating* b, floating f) noexcept nogil:
    """The weight after the steps that it has missed; `a`, `b` and f as for step, and no gradient meanwhile.

    Not for Adagrad with MCP, since some step sizes may reach gamma, from where MCP has another rule.

    Adagrad's power is found by doubling: as an expression in expm1 and log1p its bits would depend on the machine's
    libm, and the dense steps round a, so that the expression would be about another number.
    """
    cdef Missed own = since[0]
    cdef double shrinkage, threshold, power, sum, a_power, a_sum
    cdef long long left
    if Lazy is FTRL:
        return solve(d, p, <floating>a[0], <floating>b[0], f) if since.steps > 0 else w
    elif Lazy is Adagrad:
        step_without_gradient(d, p, <floating>a[0], f, &shrinkage, &threshold)
        power, sum, a_power, a_sum, left = 1, 0, shrinkage, 1, since.steps
        if ends_at_zero(w, threshold, left):
            power = left = 0
        while left > 0:
            next_digit(left & 1, shrinkage, &power, &sum, &a_power, &a_sum)
            left >>= 1
        own = repeated(power, sum, shrinkage, threshold, since.steps)
        return apply_missed(&own, w)
    else:
        if f == 0:  # the clock knows no factor: it is 0 or 1, or there is no l2
            return w
        own.threshold = own.threshold*<double>f
        return mcp_missed(p, &own, w, f) if Penalty is MCP else apply_missed(&own, w)
