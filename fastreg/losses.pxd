# cython: cdivision=True
# Layer 1, scalar: the losses of the linear models, and their derivatives by the margin. Floats only. They need exp,
# and its bits differ between machines: linear models are outside the promise of the same bits everywhere. expm1 and
# log1p, unlike exp and log, are the same symbols in every glibc, so that a wheel runs on old ones. The log loss needs
# no library: loops over its margins are vectorised, which saves a sixth of an epoch at 32 strengths (Strengths in
# benchmarks/suite).
#
# One function with a branch for each loss, not a fused type: it runs once a sample, never in a loop over weights.
# For classification y is -1 or 1, for regression a number. The losses with log link predict exp(margin).
from libc.math cimport expm1, fabs, log1p
from libc.string cimport memcpy

cdef enum LossCode:  # the order of LOSSES in reference/losses.py
    LOG_LOSS
    HINGE
    SQUARED_HINGE
    MODIFIED_HUBER
    MULTINOMIAL
    SQUARED_ERROR
    HUBER
    QUANTILE
    CROSS_ENTROPY
    POISSON  # from here on with log link
    GAMMA
    TWEEDIE

cdef struct Loss:
    LossCode code
    double parameter  # epsilon of HUBER, the quantile of QUANTILE, the power of TWEEDIE, neither 1 nor 2
    double smoothing  # 0: exact; otherwise a parabola of this width replaces the corner of HINGE and of QUANTILE

cdef enum:
    LARGEST_EXPONENT = 200  # beyond it an exponential continues as its tangent: squares of slopes stay finite


# -- Parts of the losses ----------------------------------------------------------------------------------------------

cdef inline double exp(double x) noexcept nogil:
    """Accurate relative to the result, also where it is small; constant from LARGEST_EXPONENT on."""
    return 1/(1 + expm1(-x)) if x < 0 else 1 + expm1(LARGEST_EXPONENT if x > LARGEST_EXPONENT else x)


cdef inline double power_of_2(double k) noexcept nogil:
    """2ᵏ from k + 1.5·2⁵², whose last bits are those of the integer k."""
    cdef unsigned long long bits
    memcpy(&bits, &k, sizeof(k))
    bits = (bits + 1023) << 52
    memcpy(&k, &bits, sizeof(k))
    return k


cdef inline double exp_negative(double x) noexcept nogil:
    """exp(−x) for x ≥ 0, and 0 beyond 708. After e_exp.c of fdlibm."""
    cdef double k = 6755399441055744.0 - x*1.4426950408889634  # adding 1.5·2⁵² rounds to an integer
    cdef double whole = k - 6755399441055744.0
    cdef double high = -x - whole*6.93147180369123816490e-01, low = whole*1.90821492927058770002e-10
    cdef double r = high - low
    cdef double s = r*r
    cdef double c = r - s*(1.66666666666666019037e-01 + s*(-2.77777777770155933842e-03 + s*(
        6.61375632143793436117e-05 + s*(-1.65339022054652515390e-06 + s*4.13813679705723846039e-08))))
    return 0 if x > 708 else (1 - ((low - r*c/(2 - c)) - high))*power_of_2(k)


cdef inline double log1p_unit(double x) noexcept nogil:
    """log(1 + x) for 0 ≤ x ≤ 1, where 1 + x > √2 as log 2 + log(1/2 + x/2). After s_log1p.c of fdlibm."""
    cdef double f = 0.5*(x - 1) if x > 0.41421356237309503 else x
    cdef double high = 6.93147180369123816490e-01 if x > 0.41421356237309503 else 0  # log 2
    cdef double low = 1.90821492927058770002e-10 if x > 0.41421356237309503 else 0
    cdef double s = f/(2 + f), half = 0.5*f*f
    cdef double z = s*s
    cdef double r = z*(6.666666666666735130e-01 + z*(3.999999999940941908e-01 + z*(2.857142874366239149e-01 + z*(
        2.222219843214978396e-01 + z*(1.818357216161805012e-01 + z*(
            1.531383769920937332e-01 + z*1.479819860511658591e-01))))))
    return high - ((half - (s*(half + r) + low)) - f)


cdef inline double extended_exp(double x) noexcept nogil:
    """Exp, and its tangent from LARGEST_EXPONENT on."""
    return exp(x)*(1 + x - LARGEST_EXPONENT) if x > LARGEST_EXPONENT else exp(x)


cdef inline double log(double x) noexcept nogil:
    """Of a positive number."""
    return log1p(x - 1) if x >= 1 else -log1p((1 - x)/x)


cdef inline double log_1_plus_exp(double x) noexcept nogil:
    return log1p(1 + expm1(x)) if x < 0 else log1p(1 + expm1(-x)) + x


cdef inline double positive_part(double x, double width) noexcept nogil:
    """Max(0, x), or a parabola where abs(x) is less than half the width."""
    if 2*fabs(x) < width:
        return (x + 0.5*width)*(x + 0.5*width)/(2*width)
    return 0 if x <= 0 else x


cdef inline double positive_part_slope(double x, double width) noexcept nogil:
    if 2*fabs(x) < width:
        return (x + 0.5*width)/width
    return 0 if x <= 0 else (1 if x == x else x)


cdef inline double tweedie_curvature(double power, double margin, double y) noexcept nogil:
    """The second derivative, negative where a loss with a power below 1 or above 2 is not convex."""
    return (2 - power)*exp((2 - power)*margin) + (power - 1)*y*exp((1 - power)*margin)


cdef inline double log_sum_exp(const double* margins, Py_ssize_t n) noexcept nogil:
    """The logarithm of the sum of exp(margin), without overflow. NaN if a margin is NaN, or if the largest is infinite.

    For MULTINOMIAL: less this number, margins are the logarithms of probabilities.
    """
    cdef double largest = margins[0], total = 0
    cdef Py_ssize_t k
    for k in range(1, n):
        largest = largest if largest >= margins[k] else margins[k]
    for k in range(n):
        total += exp(margins[k] - largest)
    return largest + log(total)


cdef inline double log_loss(double z) noexcept nogil:
    """log(1 + e⁻ᶻ)."""
    return log1p_unit(exp_negative(fabs(z))) + (0 if z > 0 else -z)


cdef inline double log_loss_slope(double z) noexcept nogil:
    """Its derivative, −1/(1 + eᶻ)."""
    cdef double e = exp_negative(fabs(z))
    return (-e if z > 0 else -1)/(1 + e)


# -- The losses -------------------------------------------------------------------------------------------------------

cdef inline double loss(const Loss* f, double margin, double y) noexcept nogil:
    """With z = y·margin, r = margin − y, and mu = exp(margin), all of them without the terms that depend on y only:

    LOG_LOSS log(1 + e⁻ᶻ); HINGE max(0, 1 − z), SQUARED_HINGE its square; MODIFIED_HUBER the same square, −4z below −1;
    MULTINOMIAL −margin for the sample's own class, otherwise 0: the margin is the logarithm of a probability;
    SQUARED_ERROR r²/2; HUBER that up to epsilon, and linear beyond; QUANTILE max(0, r) − q·r;
    CROSS_ENTROPY log(1 + mu) − y·margin for y from 0 to 1; the deviances POISSON mu − y·margin, GAMMA margin + y/mu,
    TWEEDIE mu²⁻ᵖ/(2 − p) − y·mu¹⁻ᵖ/(1 − p), each of them half the unit deviance.

    A NaN in the margin stays one: it is how a model that has diverged is found out.
    """
    cdef double z = y*margin
    cdef double r = margin - y
    cdef double p = f.parameter
    if f.code == LOG_LOSS:
        return log_loss(z)
    elif f.code == HINGE:
        return positive_part(1 - z, f.smoothing)
    elif f.code == SQUARED_HINGE:
        return 0 if z >= 1 else (1 - z)*(1 - z)
    elif f.code == MODIFIED_HUBER:
        return 0 if z >= 1 else -4*z if z < -1 else (1 - z)*(1 - z)
    elif f.code == MULTINOMIAL:
        return -margin if y > 0 or margin != margin else 0
    elif f.code == QUANTILE:
        return positive_part(r, f.smoothing) - p*r
    elif f.code == CROSS_ENTROPY:
        return log_1_plus_exp(margin) - z
    elif f.code == POISSON:
        return extended_exp(margin) - z
    elif f.code == GAMMA:
        return margin + y*extended_exp(-margin)
    elif f.code == TWEEDIE:
        return extended_exp((2 - p)*margin)/(2 - p) - y*extended_exp((1 - p)*margin)/(1 - p)
    elif f.code == SQUARED_ERROR or fabs(r) <= p:
        return 0.5*r*r
    else:
        return p*(fabs(r) - 0.5*p)


cdef inline double slope(const Loss* f, double margin, double y) noexcept nogil:
    """The derivative of the loss by the margin; a NaN in the margin stays one."""
    cdef double z = y*margin
    cdef double r = margin - y
    cdef double p = f.parameter
    if f.code == LOG_LOSS:
        return y*log_loss_slope(z)
    elif f.code == HINGE:
        return 0 if z >= 1 + 0.5*f.smoothing else -y*positive_part_slope(1 - z, f.smoothing)
    elif f.code == SQUARED_HINGE:
        return 0 if z >= 1 else -2*y*(1 - z)
    elif f.code == MODIFIED_HUBER:
        return 0 if z >= 1 else -4*y if z < -1 else -2*y*(1 - z)
    elif f.code == MULTINOMIAL:
        return exp(margin) - 1 if y > 0 else exp(margin)
    elif f.code == QUANTILE:
        return positive_part_slope(r, f.smoothing) - p
    elif f.code == CROSS_ENTROPY:
        return 1/(2 + expm1(-margin)) - y
    elif f.code == POISSON:
        return exp(margin) - y
    elif f.code == GAMMA:
        return 1 - y*exp(-margin)
    elif f.code == TWEEDIE:
        return exp((2 - p)*margin) - y*exp((1 - p)*margin)
    elif f.code == SQUARED_ERROR or not fabs(r) > p:
        return r
    else:
        return p if r > 0 else -p


cdef inline double curvature(const Loss* f, double margin, double y) noexcept nogil:
    """The second derivative by the margin, where it jumps that of the steeper side; never negative.

    A TWEEDIE that is not convex, with p below 1 or above 2, has the expected one, mu²⁻ᵖ, as in Fisher scoring.
    """
    cdef double z = y*margin
    cdef double r = margin - y
    cdef double p = f.parameter
    cdef double q
    if f.code == LOG_LOSS or f.code == CROSS_ENTROPY:
        q = 1/(2 + expm1(fabs(margin)))
        return q*(1 - q)
    elif f.code == HINGE:
        return 1/f.smoothing if 2*fabs(1 - z) < f.smoothing else 0
    elif f.code == SQUARED_HINGE:
        return 0 if z > 1 else 2
    elif f.code == MODIFIED_HUBER:
        return 0 if z > 1 or z < -1 else 2
    elif f.code == MULTINOMIAL:
        return exp(margin)*(1 - exp(margin))
    elif f.code == QUANTILE:
        return 1/f.smoothing if 2*fabs(r) < f.smoothing else 0
    elif f.code == POISSON:
        return exp(margin)
    elif f.code == GAMMA:
        return y*exp(-margin)
    elif f.code == TWEEDIE:
        return tweedie_curvature(p, margin, y) if 1 <= p <= 2 else exp((2 - p)*margin)
    elif f.code == SQUARED_ERROR or fabs(r) <= p:
        return 1
    else:
        return 0


cdef inline double majorant(const Loss* f, double margin, double y) noexcept nogil:
    """Where a loss is linear but not flat, the second derivative of a parabola that touches it and is nowhere below it.

    That is for HINGE and QUANTILE, which must be smooth, HUBER, and MODIFIED_HUBER below −1 (Hunter & Lange, "Quantile
    regression via an MM algorithm", 2000). Elsewhere it is that of the loss, at which a step can be too long.
    """
    cdef double z = y*margin
    cdef double r = fabs(margin - y)
    if f.code == HINGE:
        return 1/max(2*fabs(1 - z), f.smoothing)
    elif f.code == QUANTILE:
        return 1/max(2*r, f.smoothing)
    elif f.code == MODIFIED_HUBER and z < -1:
        return 4/(1 - z)
    elif f.code == HUBER and r > f.parameter:
        return f.parameter/r
    else:
        return curvature(f, margin, y)


cdef inline double raised(const Loss* f, double margin, double y, double ratio) noexcept nogil:
    """The margin where GAMMA and TWEEDIE predict y/ratio, if it is above the given one, and y positive.

    Below it, slopes grow exponentially, and adaptive steps would remember them for good. Where the ratio of y to its
    prediction has a variance, a limit of 4·√t after t samples costs less than the standard error of their mean.
    """
    cdef double lowest
    if f.code == GAMMA or (f.code == TWEEDIE and f.parameter > 1 and y > 0):
        lowest = log(y) - log(ratio)
        return lowest if margin < lowest else margin
    return margin


cdef inline double largest_curvature(const Loss* f, double margin, double y) noexcept nogil:
    """The largest second derivative between the margin and the minimum: a step of slope/this does not go beyond.

    For the losses without a bound over all margins. The slope over the distance takes its place for QUANTILE, which has
    a corner, and for HUBER, whose steps would be short far from the minimum.
    """
    cdef double p = f.parameter
    if f.code == QUANTILE:
        return fabs(slope(f, margin, y))/fabs(margin - y)
    elif f.code == HUBER:
        return p/fabs(margin - y) if fabs(margin - y) > p else 1
    elif f.code == POISSON:
        return max(exp(margin), y)
    elif f.code == GAMMA:
        return max(y*exp(-margin), 1)
    else:
        return max(tweedie_curvature(p, margin, y), exp((2 - p)*log(y)) if y > 0 else 0)
