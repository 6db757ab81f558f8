# cython: cdivision=True
# Layer 1, scalar: every formula of fastreg, once. Floats and structs only, so that any Cython package can cimport it.
#
# An update is a product of three choices, each a struct and a member of a fused type, so that one `step` gives every
# combination, specialised and vectorised by the C compiler:
#   Direction  how a gradient becomes a move u, and the coordinate's step size eta;
#   Mode       where the penalty enters: in the gradient, beside the move, or as its proximal operator;
#   Penalty    what is paid: l1·|w| + l2/2·w², or its l2 alone, which must not pay for the L1 arithmetic.
# Mode and Penalty were one type at first; apart, the l2 kernels (and a factor per coordinate) cost no formula twice.
#
# Structs hold doubles; each is rounded to the array's type once. The order of operations is a contract with
# reference.py, which follows line by line: compile with -ffp-contract=off to get the same bits.
# cdivision does not travel from the .pyx that cimports: without line 1 no division here would be vectorised.
from libc.math cimport copysign, copysignf, fabs, fabsf

ctypedef fused floating:
    float
    double


# -- Directions -------------------------------------------------------------------------------------------------------

cdef struct Plain:
    double lr

ctypedef fused Direction:
    Plain


# -- Modes (C has no empty struct, hence `tag`) -----------------------------------------------------------------------

cdef struct Subgradient:
    char tag

cdef struct Decoupled:
    char tag

cdef struct Truncated:
    double theta

cdef struct Proximal:
    char tag

ctypedef fused Mode:
    Subgradient
    Decoupled
    Truncated
    Proximal


# -- Penalties --------------------------------------------------------------------------------------------------------

cdef struct ElasticNet:
    double l1
    double l2

cdef struct Ridge:
    double l2

ctypedef fused Penalty:
    ElasticNet
    Ridge


# -- Scalar functions -------------------------------------------------------------------------------------------------

cdef inline floating magnitude(floating x) noexcept nogil:
    if floating is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline floating square(floating x) noexcept nogil:
    return x*x


cdef inline floating sign(floating x) noexcept nogil:
    """-1, 0 or 1; 0 at both zeros. Masks, since each blend of two comparisons costs three instructions in cache."""
    if floating is float:
        return copysignf(1, x) if x != 0 else <floating>0
    else:
        return copysign(1, x) if x != 0 else <floating>0


cdef inline floating soft(floating x, floating t) noexcept nogil:
    """The soft threshold S(x, t) = x − clip(x, −t, t). In this form it keeps a NaN and its zeros are +0.0."""
    cdef floating c = x if x < t else t
    c = c if -t < c else -t
    return x - c


cdef inline floating penalised(const Penalty* p, floating g, floating w) noexcept nogil:
    """g plus a subgradient of the penalty at w."""
    if Penalty is ElasticNet:
        return g + <floating>p.l1*sign(w) + <floating>p.l2*w
    else:
        return g + <floating>p.l2*w


cdef inline floating threshold(const Penalty* p, floating x, floating eta) noexcept nogil:
    """The proximal operator of eta·l1·|x|: the identity where there is no l1."""
    if Penalty is ElasticNet:
        return soft(x, eta*<floating>p.l1)
    else:
        return x


cdef inline double value(const Penalty* p, double sum_abs, double sum_squares) noexcept nogil:
    """l1·‖w‖₁ + l2/2·‖w‖₂² from the two sums. A strength of zero adds nothing, even to an infinite sum."""
    cdef double total = 0.5*p.l2*sum_squares if p.l2 != 0 else 0
    if Penalty is ElasticNet:
        total = (p.l1*sum_abs if p.l1 != 0 else 0) + total
    return total


cdef inline floating move(const Direction* d, floating g, floating* a, floating* b, floating* c,
                          floating* eta) noexcept nogil:
    """The move u along the gradient g, given the coordinate's state a, b, c; also sets its step size eta."""
    eta[0] = <floating>d.lr
    return eta[0]*g


cdef inline floating step(const Direction* d, const Mode* m, const Penalty* p, floating w, floating g,
                          floating* a, floating* b, floating* c) noexcept nogil:
    """The new weight. `a`, `b` and `c` point to the coordinate's state and are NULL where a direction has none."""
    cdef floating eta = 0
    cdef floating u, x
    if Mode is Subgradient:
        return w - move(d, penalised(p, g, w), a, b, c, &eta)
    else:
        u = move(d, g, a, b, c, &eta)
        if Mode is Decoupled:
            return w - u - <floating>d.lr*penalised(p, <floating>0, w)
        elif Mode is Truncated:
            x = w - u - eta*<floating>p.l2*w
            return threshold(p, x, eta if magnitude(x) <= <floating>m.theta else <floating>0)
        else:
            return threshold(p, w - u, eta)*(<floating>1/(<floating>1 + eta*<floating>p.l2))
