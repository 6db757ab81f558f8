# cython: cdivision=True
# Layer 1, scalar: the group lasso l21·‖z‖₂ (Yuan & Lin 2006) by its proximal operator in the coordinates' own metric.
#
# It follows the coordinates' own penalty, which gave x: with l1, that is the sparse group lasso. h is the inverse of a
# coordinate's step size, plus l2. The new group z minimises Σ h·(z − x)²/2 + l21·‖z‖:
#   z = 0 where √Σ(h·x)² ≤ l21;
#   z = x·t·k with k = h/(t·h + l21) where not, for t = ‖z‖, the root of Σ(x·k)² = 1 (Deleu & Bengio 2021);
#   z = x·(1 − l21/(h·‖x‖)) where all h are equal.
# The root by Newton's method for 1/√Σ(x·k)², which is concave in t, and linear where all h are equal. No iteration is
# needed where l21 takes very little off, or where the h hardly differ; else one to four are usual. Sums and t are
# doubles; the order of a sum is a contract with reference/groups.py, as in rules.pxd.
from libc.math cimport INFINITY, sqrt

from fastreg.rules cimport absolute, denominator
from fastreg.structs cimport *

cdef enum:
    GROUP_SUMS = 3        # at most, that a pass over a group gives
    MOST_ITERATIONS = 60  # reached only within 1e-7 of the threshold in float32, where t is lost in rounding; else 26


cdef inline floating metric(const Adaptive* d, floating squares, floating l2) noexcept nogil:
    """The inverse of a coordinate's step size, at most a number whose square does not overflow in double, plus l2."""
    cdef floating h = denominator(d, squares)*<floating>(1/d.lr)
    cdef floating most = <floating>1e30 if floating is float else <floating>1e150
    return (h if h < most else most) + l2


cdef inline double even_factor(double norm, double h, double l21) noexcept nogil:
    """What a group of this norm is multiplied by where all h are equal. It stands still if its norm is not finite."""
    cdef double threshold = l21/h
    if norm <= threshold:
        return 0
    return (norm - threshold)/norm if norm < INFINITY else 1


cdef inline floating multiplied(floating x, floating factor) noexcept nogil:
    """A weight of a group with this factor: 0 is 0 for an infinite weight, too."""
    return x*factor if factor != 0 else <floating>0


cdef inline void add_moments(floating x, floating h, double* xx, double* xxhh) noexcept nogil:
    """Adds to Σx² and Σ(h·x)²."""
    cdef double v = x, p = v*<double>h
    xx[0] += v*v
    xxhh[0] += p*p


cdef inline floating inverse_norm(floating h, floating t, floating l21) noexcept nogil:
    """k, near 1/t."""
    return h/(t*h + l21)


cdef inline void add_slopes(floating x, floating k, double* s, double* d, double* c) noexcept nogil:
    """Adds to Σ(x·k)², Σ(x·k)²·k and Σ(x·k)²·k²."""
    cdef double p = x*k, q = p*p*k
    s[0] += p*p
    d[0] += q
    c[0] += q*k


cdef inline bint is_iterated(double xx, double xxhh, double l21) noexcept nogil:
    """Whether ‖z‖ must be searched. If not, z is 0, or the group stands still, as its norm is not finite."""
    return xx + xxhh < INFINITY and not sqrt(xxhh) <= l21


cdef inline double first_norm(double xx, double xxhh, double l21) noexcept nogil:
    """Where the search for ‖z‖ starts: ‖z‖ if all h are equal. 0 and infinity if there is none."""
    if is_iterated(xx, xxhh, l21):
        return sqrt(xx)*(1 - l21/sqrt(xxhh))
    return 0 if sqrt(xxhh) <= l21 else INFINITY


cdef inline bint is_close(double xx, double xxhh, double least, double l21, double tolerance) noexcept nogil:
    """Whether the search can end where it starts: no weight is off by more than the relative tolerance.

    `least` is the smallest h and m the root of their mean square, weighted by x². ‖z‖ is between ‖x‖ − l21/least and
    ‖x‖ − l21/m (Jensen's inequality). A weight is x/(1 + l21/(h·‖z‖)): it follows a relative change of ‖z‖ by less than
    l21/(h·‖z‖) of it.
    """
    cdef double most = l21/least, lower = sqrt(xx) - most
    return most < lower and most*(most - l21*sqrt(xx/xxhh)) <= tolerance*(lower*lower)


cdef inline bint is_improved(double* t, const double* slopes, double least, double l21,
                             double tolerance) noexcept nogil:
    """An iteration; whether the next one could still change a weight by more than the relative tolerance.

    From the right of the root, t may go below 0, and starts again there: from the left it rises to the root.
    """
    cdef double s = slopes[0], d = slopes[1], most = l21/least
    cdef double change = s*(sqrt(s) - 1)/d
    cdef double left = 1.5*(s*slopes[2] - d*d)/(s*d)*(change*change)
    t[0] = t[0] + change if t[0] + change > 0 else 0
    return left*(most if most < t[0] else t[0]) > tolerance*(t[0]*t[0]) or absolute(change) > 0.5*t[0]


cdef inline floating shrunk(floating x, floating k, floating t) noexcept nogil:
    """The coordinate of a group with the norm t; x where the group stands still, because t is not finite."""
    cdef floating z = t*(x*k)
    z = z if absolute(z) <= absolute(x) else x  # rounding must not make a weight grow
    return <floating>0 if t == 0 else z
