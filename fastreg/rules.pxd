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
from libc.math cimport copysign, copysignf, fabs, fabsf, sqrt, sqrtf

ctypedef fused floating:
    float
    double


# -- Directions: a, b, c are the coordinate's state, in the order named here ------------------------------------------
#
# Fields that follow from others (take = 1 − beta, bias corrections, eta) are computed in double by whoever fills them.

cdef struct Plain:
    double lr

cdef struct Momentum:  # buffer
    double lr
    double momentum
    double take  # 1 − dampening; 1 at the first step, whose buffer is the undampened gradient
    double eta   # lr·(1 − dampening)/(1 − momentum)

cdef struct Nesterov:  # buffer
    double lr
    double momentum
    double eta   # lr/(1 − momentum)

cdef struct Adagrad:  # sum of squares
    double lr
    double eps

cdef struct RMSprop:  # mean square
    double lr
    double alpha
    double take  # 1 − alpha
    double eps

cdef struct Adam:  # mean, mean square
    double lr
    double beta1
    double take1  # 1 − beta1
    double beta2
    double take2  # 1 − beta2
    double eps
    double scale1  # 1/(1 − beta1ᵗ)
    double scale2  # 1/√(1 − beta2ᵗ)

cdef struct AMSGrad:  # mean, mean square, its largest value
    double lr
    double beta1
    double take1
    double beta2
    double take2
    double eps
    double scale1
    double scale2

cdef struct Lion:  # mean
    double lr
    double beta1
    double take1
    double beta2
    double take2

cdef struct FTRL:  # z, n
    double lr
    double beta

ctypedef fused Linear:  # the step size is that of the optimizer, the same for all coordinates
    Plain
    Momentum
    Nesterov

ctypedef fused Adaptive:  # the step size is the coordinate's own
    Adagrad
    RMSprop
    Adam
    AMSGrad

ctypedef fused OneState:  # at least: has a
    Momentum
    Nesterov
    Adagrad
    RMSprop
    Adam
    AMSGrad
    Lion
    FTRL

ctypedef fused TwoStates:  # has b as well
    Adam
    AMSGrad
    FTRL

ctypedef fused ThreeStates:  # has c as well
    AMSGrad

ctypedef fused Direction:
    Plain
    Momentum
    Nesterov
    Adagrad
    RMSprop
    Adam
    AMSGrad
    Lion
    FTRL


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

cdef struct Weighted:  # the elastic net, its strengths times a factor f of the coordinate's own
    double l1
    double l2

ctypedef fused Penalty:
    ElasticNet
    Ridge
    Weighted


# -- Scalar functions -------------------------------------------------------------------------------------------------

cdef inline floating magnitude(floating x) noexcept nogil:
    if floating is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


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


cdef inline floating strength(const Penalty* p, double x, const floating* f) noexcept nogil:
    """l1 or l2 as it applies to the coordinate with the factor f."""
    if Penalty is Weighted:
        return <floating>x*f[0]
    else:
        return <floating>x


cdef inline floating penalised(const Penalty* p, floating g, floating w, const floating* f) noexcept nogil:
    """g plus a subgradient of the penalty at w."""
    if Penalty is Ridge:
        return g + strength(p, p.l2, f)*w
    else:
        return g + strength(p, p.l1, f)*sign(w) + strength(p, p.l2, f)*w


cdef inline floating threshold(const Penalty* p, floating x, floating eta, const floating* f) noexcept nogil:
    """The proximal operator of eta·l1·|x|: the identity where there is no l1."""
    if Penalty is Ridge:
        return x
    else:
        return soft(x, eta*strength(p, p.l1, f))


cdef inline double value(const Penalty* p, double sum_abs, double sum_squares) noexcept nogil:
    """l1·‖w‖₁ + l2/2·‖w‖₂² from the two sums. A strength of zero adds nothing, even to an infinite sum."""
    cdef double total = 0.5*p.l2*sum_squares if p.l2 != 0 else 0
    if Penalty is not Ridge:
        total = (p.l1*sum_abs if p.l1 != 0 else 0) + total
    return total


cdef inline floating move(const Direction* d, floating g, floating* a, floating* b, floating* c,
                          floating* eta) noexcept nogil:
    """The move u, after the state a, b, c has taken in the gradient g; also sets the coordinate's step size eta."""
    cdef floating m
    if Direction is Plain:
        eta[0] = <floating>d.lr
        return eta[0]*g
    elif Direction is Momentum:
        a[0] = <floating>d.momentum*a[0] + <floating>d.take*g
        eta[0] = <floating>d.eta
        return <floating>d.lr*a[0]
    elif Direction is Nesterov:
        a[0] = <floating>d.momentum*a[0] + g
        eta[0] = <floating>d.eta
        return <floating>d.lr*(g + <floating>d.momentum*a[0])
    elif Direction is Adagrad:
        a[0] = a[0] + g*g
        eta[0] = <floating>d.lr/(root(a[0]) + <floating>d.eps)
        return eta[0]*g
    elif Direction is RMSprop:
        a[0] = <floating>d.alpha*a[0] + <floating>d.take*(g*g)
        eta[0] = <floating>d.lr/(root(a[0]) + <floating>d.eps)
        return eta[0]*g
    elif Direction is Adam:
        a[0] = <floating>d.beta1*a[0] + <floating>d.take1*g
        b[0] = <floating>d.beta2*b[0] + <floating>d.take2*(g*g)
        eta[0] = <floating>d.lr/(root(b[0])*<floating>d.scale2 + <floating>d.eps)
        return eta[0]*(a[0]*<floating>d.scale1)
    elif Direction is AMSGrad:
        a[0] = <floating>d.beta1*a[0] + <floating>d.take1*g
        b[0] = <floating>d.beta2*b[0] + <floating>d.take2*(g*g)
        c[0] = c[0] if c[0] > b[0] else b[0]
        eta[0] = <floating>d.lr/(root(c[0])*<floating>d.scale2 + <floating>d.eps)
        return eta[0]*(a[0]*<floating>d.scale1)
    elif Direction is Lion:
        m = <floating>d.beta1*a[0] + <floating>d.take1*g
        a[0] = <floating>d.beta2*a[0] + <floating>d.take2*g
        eta[0] = <floating>d.lr
        return eta[0]*(sign(m) if m == m else m)
    else:
        return 0  # FTRL does not move: see follow


cdef inline floating follow(const FTRL* d, const Penalty* p, floating w, floating g, floating* z, floating* n,
                            const floating* f) noexcept nogil:
    """FTRL-Proximal: the weight that minimises the linearised losses so far plus the penalty, in closed form."""
    cdef floating before = root(n[0])
    n[0] = n[0] + g*g
    z[0] = z[0] + (g - (root(n[0]) - before)/<floating>d.lr*w)
    return threshold(p, -z[0], <floating>1, f)/((<floating>d.beta + root(n[0]))/<floating>d.lr + strength(p, p.l2, f))


cdef inline floating step(const Direction* d, const Mode* m, const Penalty* p, floating w, floating g, floating* a,
                          floating* b, floating* c, const floating* f) noexcept nogil:
    """The new weight. `a`, `b`, `c` point to the coordinate's state and f to its factor; NULL where there is none."""
    cdef floating eta = 0
    cdef floating u, x
    if Direction is FTRL:
        return follow(d, p, w, g, a, b, f)
    elif Mode is Subgradient:
        return w - move(d, penalised(p, g, w, f), a, b, c, &eta)
    else:
        u = move(d, g, a, b, c, &eta)
        if Mode is Decoupled:
            return w - u - <floating>d.lr*penalised(p, <floating>0, w, f)
        elif Mode is Truncated:
            x = w - u - eta*strength(p, p.l2, f)*w
            return threshold(p, x, eta if magnitude(x) <= <floating>m.theta else <floating>0, f)
        else:
            return threshold(p, w - u, eta, f)*(<floating>1/(<floating>1 + eta*strength(p, p.l2, f)))
