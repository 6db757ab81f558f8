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
from libc.math cimport INFINITY, copysign, copysignf, fabs, fabsf, sqrt, sqrtf
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy

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

ctypedef fused Rooted:  # the step size is over the root of the state
    Adagrad
    RMSprop

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

ctypedef fused Lazy:  # has a closed form for any number of steps without a gradient: see catch_up
    Plain
    Adagrad
    FTRL

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


cdef inline floating signed(floating x, floating w) noexcept nogil:
    """x·sign(w), where x is not negative. Masks, since a blend of two comparisons costs three instructions in cache."""
    if floating is float:
        return copysignf(x, w) if w != 0 else <floating>0
    else:
        return copysign(x, w) if w != 0 else <floating>0


cdef inline floating sign(floating x) noexcept nogil:
    """-1, 0 or 1; 0 at both zeros."""
    return signed(<floating>1, x)


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


cdef inline floating toll(const Penalty* p, floating eta, const floating* f) noexcept nogil:
    """What l1 takes off |w| in one step of the truncated or the proximal mode."""
    if Penalty is Ridge:
        return 0
    else:
        return eta*strength(p, p.l1, f)


cdef inline floating shrinkage(const Penalty* p, floating eta, const floating* f) noexcept nogil:
    """The factor by which l2 shrinks a weight in one step of the proximal mode."""
    return <floating>1/(<floating>1 + eta*strength(p, p.l2, f))


cdef inline floating threshold(const Penalty* p, floating x, floating eta, const floating* f) noexcept nogil:
    """The proximal operator of eta·l1·|x|: the identity where there is no l1."""
    if Penalty is Ridge:
        return x
    else:
        return soft(x, toll(p, eta, f))


cdef inline double value(const Penalty* p, double sum_abs, double sum_squares) noexcept nogil:
    """l1·‖w‖₁ + l2/2·‖w‖₂² from the two sums. A strength of zero adds nothing, even to an infinite sum."""
    cdef double total = 0.5*p.l2*sum_squares if p.l2 != 0 else 0
    if Penalty is not Ridge:
        total = (p.l1*sum_abs if p.l1 != 0 else 0) + total
    return total


cdef inline floating rate(const Rooted* d, floating squares) noexcept nogil:
    """The step size of a coordinate with this sum, or mean, of squares."""
    return <floating>d.lr/(root(squares) + <floating>d.eps)


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
        eta[0] = rate(d, a[0])
        return eta[0]*g
    elif Direction is RMSprop:
        a[0] = <floating>d.alpha*a[0] + <floating>d.take*(g*g)
        eta[0] = rate(d, a[0])
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


cdef inline floating solve(const FTRL* d, const Penalty* p, floating z, floating n, const floating* f) noexcept nogil:
    """FTRL-Proximal: the weight that minimises z·w + n's quadratic terms + the penalty, in closed form."""
    return threshold(p, -z, <floating>1, f)/((<floating>d.beta + root(n))/<floating>d.lr + strength(p, p.l2, f))


cdef inline void absorb(const FTRL* d, floating w, floating g, floating* z, floating* n) noexcept nogil:
    """FTRL-Proximal: the state takes in the gradient g at w."""
    cdef floating before = root(n[0])
    n[0] = n[0] + g*g
    z[0] = z[0] + (g - (root(n[0]) - before)/<floating>d.lr*w)


cdef inline floating follow(const FTRL* d, const Penalty* p, floating w, floating g, floating* z, floating* n,
                            const floating* f) noexcept nogil:
    """FTRL-Proximal: the weight that minimises the linearised losses so far plus the penalty."""
    absorb(d, w, g, z, n)
    return solve(d, p, z[0], n[0], f)


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
            if Penalty is Ridge:
                return w - u - <floating>d.lr*penalised(p, <floating>0, w, f)
            else:
                return w - u - <floating>d.lr*(signed(strength(p, p.l1, f), w) + strength(p, p.l2, f)*w)
        elif Mode is Truncated:
            x = w - u - eta*strength(p, p.l2, f)*w
            if m.theta == INFINITY:  # the same for all weights, so that the compiler makes two loops of one
                return threshold(p, x, eta, f)
            return threshold(p, x, eta if magnitude(x) <= <floating>m.theta else <floating>0, f)
        else:
            return threshold(p, w - u, eta, f)*shrinkage(p, eta, f)


# -- Steps without a gradient, made up for later ----------------------------------------------------------------------
#
# A coordinate whose gradient is zero is only penalised, and the penalty's steps compose: after any number of them the
# weight is S(scale·w, debt). For Plain, scale and debt follow from a clock that all coordinates share (Lipton & Elkan,
# "Efficient elastic net regularization for sparse linear models", arXiv 1505.06449); for Adagrad, whose step size is
# the coordinate's own and stands still meanwhile, from the number of steps; FTRL solves for the weight anyway. What
# has to add up over many steps does so in double. Each step's own numbers are rounded as the dense step rounds them.

cdef struct Clock:  # after t steps of Plain, with a the shrinkage of a step:
    double product   # P = Π a
    double inverse   # 1/P
    double total     # B = Σ lr·l1/P: what l1 has taken, in units that l2 does not shrink; P as the mode asks, see tick
    double lost      # to rounding, and owed to the next term of B (Kahan): a long stream must not add up errors

cdef struct Stamp:  # what a weight keeps of the clock when it is up to date
    double inverse
    double total

cdef struct Missed:  # since a weight was up to date
    double scale
    double debt
    long long steps  # for Adagrad; for FTRL, those ever made

cdef inline void tick(const Mode* m, const ElasticNet* p, floating lr, Clock* now) noexcept nogil:
    """One more step of Plain in the proximal mode, a·(|w| − lr·l1), or the truncated one, |w| − (lr·l2)·|w| − lr·l1."""
    cdef double taken = toll(p, lr, <const floating*>NULL)
    cdef double before = now.total
    if Mode is Proximal:
        taken = taken*now.inverse
        now.product = now.product*<double>shrinkage(p, lr, <const floating*>NULL)
        now.inverse = 1/now.product
    else:
        now.product = now.product*(1 - <double>(lr*strength(p, p.l2, <const floating*>NULL)))
        now.inverse = 1/now.product
        taken = taken*now.inverse
    taken = taken - now.lost
    now.total = before + taken if taken > 0 else before  # never less: what was lost waits for a larger term
    now.lost = (now.total - before) - taken


cdef inline bint is_worn(const Clock* now, double taken) noexcept nogil:
    """Whether the clock is to be wound back, once all weights are up to date, after a step that took so much.

    That is where it nears what a double can hold, and where debts of steps like this one begin to drown in the total.
    """
    cdef double most = now.product*now.total  # that a weight can owe
    return not (now.product > 1e-150 and now.total < 1e150) or (most > 16 and most > <double>(1 << 20)*taken)


cdef inline Missed missed(const Clock* now, const Stamp* then) noexcept nogil:
    """What a weight that was up to date then has missed; exactly nothing where no step was made."""
    cdef Missed since
    since.scale = now.product*then.inverse if then.inverse != now.inverse else 1
    # Where lr·l1 or lr·l2 overflows, total is infinite or product 0, and neither inf − inf nor 0·inf may come of it.
    since.debt = now.product*(now.total - then.total) if now.product > 0 and then.total < now.total else 0
    since.steps = 0
    return since


cdef inline floating owing(const Missed* since, floating w) noexcept nogil:
    """The weight when its debt is paid."""
    return <floating>soft(since.scale*<double>w, since.debt)


cdef inline void idle(const Adagrad* d, const Penalty* p, floating squares, const floating* f, double* kept,
                      double* taken) noexcept nogil:
    """A step of Adagrad without a gradient is kept·(|w| − taken)."""
    cdef floating eta = rate(d, squares)
    kept[0] = shrinkage(p, eta, f)
    taken[0] = toll(p, eta, f)


cdef inline bint is_gone(double w, double taken, long long steps) noexcept nogil:
    """Whether so many of these steps surely end at zero: each takes that much, or more."""
    return magnitude(w) <= 0.999*(taken*<double>steps)


cdef inline void double_up(long long odd, double a, double* power, double* sum, double* a_power,
                           double* a_sum) noexcept nogil:
    """One binary digit of k, the lowest first, on the way to aᵏ and T = 1 + … + aᵏ⁻¹.

    Of the digits so far `power` and `sum` are these, of the digit itself `a_power` and `a_sum`. With 1 − aᵏ = (1 − a)·T
    nothing cancels; the power is taken from T while that is more accurate.
    """
    cdef double rest = 1 - a
    cdef double more = a_power[0]*sum[0] + a_sum[0]
    cdef double less = 1 - rest*more if rest*more < 0.5 else power[0]*a_power[0]
    sum[0] = more if odd else sum[0]
    power[0] = less if odd else power[0]
    a_sum[0] = a_sum[0]*(1 + a_power[0])
    a_power[0] = 1 - rest*a_sum[0] if rest*a_sum[0] < 0.5 else a_power[0]*a_power[0]


cdef inline Missed repeated(double power, double sum, double a, double taken, long long steps) noexcept nogil:
    """So many steps a·(|w| − taken), from the power of a and the sum of those below it: debt taken·(a + … + aᵏ)."""
    return Missed(power, taken*(a*sum) if a*sum > 0 else 0, steps)  # taken may be infinite


cdef inline floating catch_up(const Lazy* d, const Penalty* p, const Missed* since, floating w, const floating* a,
                              const floating* b, const floating* f) noexcept nogil:
    """The weight after the steps that it has missed; `a`, `b` and f as for step, which saw no gradient meanwhile.

    Adagrad's power is found by doubling: as an expression in expm1 and log1p, bits would depend on the machine's libm,
    and an a that is rounded, as that of the dense steps is, would not be the same number.
    """
    cdef Missed own = since[0]
    cdef double kept, taken, power, sum, a_power, a_sum
    cdef long long left
    if Lazy is FTRL:
        return solve(d, p, <floating>a[0], <floating>b[0], f) if since.steps > 0 else w
    elif Lazy is Adagrad:
        idle(d, p, <floating>a[0], f, &kept, &taken)
        power, sum, a_power, a_sum, left = 1, 0, kept, 1, since.steps
        if is_gone(w, taken, left):
            power = left = 0
        while left > 0:
            double_up(left & 1, kept, &power, &sum, &a_power, &a_sum)
            left >>= 1
        own = repeated(power, sum, kept, taken, since.steps)
    elif Penalty is Weighted:  # the clock has no factor: it is 0 or 1, or there is no l2
        if f[0] == 0:
            return w
        own.debt = own.debt*<double>f[0]
    return owing(&own, w)


# -- Storage ----------------------------------------------------------------------------------------------------------
#
# A bfloat16 is the upper half of a float32. What is stored so is computed with in float32, by the rules as they stand.

ctypedef uint16_t bfloat16

cdef inline float widened(uint32_t pattern) noexcept nogil:
    """The number with these bits: those of a bfloat16, above 16 zeros."""
    cdef float x
    memcpy(&x, &pattern, sizeof(x))
    return x


cdef inline uint32_t pattern_of(float x) noexcept nogil:
    cdef uint32_t pattern
    memcpy(&pattern, &x, sizeof(pattern))
    return pattern


cdef inline uint32_t nearest(float x) noexcept nogil:
    """In its upper half the bfloat16 nearest to x, of two as near the even one; no NaN with bits in its lower half."""
    return pattern_of(x) + <uint32_t>0x7FFF + (pattern_of(x) >> 16 & <uint32_t>1)


cdef inline uint32_t narrowed(float x) noexcept nogil:
    """The same for every x: a NaN stays one, and is quiet."""
    return nearest(x) if x == x else pattern_of(x) | <uint32_t>0x400000
