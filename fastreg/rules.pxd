# cython: cdivision=True
# Layer 1, scalar: one step of one weight, every formula once. Floats and structs only: other packages can cimport it.
#
# An update is a product of choices, each a struct and a member of a fused type, so that one `step` gives every
# combination, specialised and vectorised by the C compiler:
#   Direction  how a gradient becomes a move u, and the coordinate's step size eta: `move`, `correct`;
#   Mode       where the penalty enters: in the gradient, beside the move, or as its proximal operator;
#   Penalty    three functions, `subgradient`, `prox` and `value`, and no other function knows which penalty it is, but
#              for the elastic net's closed forms: `truncated`, `solve`, and steps without a gradient (catch_up.pxd).
# A factor f of the coordinate's own multiplies the penalty's strengths; it is 1 where there is none.
# Structs hold doubles; each is rounded to the array's type once. The order of operations is a contract with
# reference/rules.py, which follows line by line: compile with -ffp-contract=off to get the same bits.
# cdivision does not travel from the .pyx that cimports: without line 1 no division here would be vectorised.
from libc.math cimport INFINITY, copysign, copysignf, fabs, fabsf, sqrt, sqrtf

from fastreg.structs cimport *


# -- Scalar functions -------------------------------------------------------------------------------------------------

cdef inline floating absolute(floating x) noexcept nogil:
    if floating is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline floating sign(floating w) noexcept nogil:
    """-1, 0 or 1; 0 at both zeros. As masks: a blend of two comparisons costs three instructions in cache."""
    if floating is float:
        return copysignf(<floating>1, w) if w != 0 else <floating>0
    else:
        return copysign(<floating>1, w) if w != 0 else <floating>0


cdef inline floating soft(floating x, floating t) noexcept nogil:
    """The soft threshold S(x, t) = x − clip(x, −t, t). In this form it keeps a NaN and its zeros are +0.0."""
    cdef floating c = x if x < t else t
    c = c if -t < c else -t
    return x - c


cdef inline floating soft_scaled(floating x, floating t, floating scale) noexcept nogil:
    """The proximal operator of the elastic net, from the threshold of l1 and the shrinkage of l2."""
    return soft(x, t)*scale


cdef inline floating within(floating x, floating low, floating high) noexcept nogil:
    """x, moved into the interval. After the proximal operator of a convex penalty: the minimiser over the interval."""
    cdef floating c = low if x < low else x
    return high if c > high else c


# -- The interface of a penalty ---------------------------------------------------------------------------------------

cdef inline floating subgradient(const Penalty* p, floating g, floating w, floating f) noexcept nogil:
    """g plus a subgradient of the penalty at w: the one closest to zero at a corner."""
    if Penalty is Ridge:
        return g + <floating>p.l2*f*w
    elif Penalty is MCP:
        return g + mcp_slope(p, absolute(w), <floating>p.l1*f)*sign(w) + <floating>p.l2*f*w
    else:
        return g + <floating>p.l1*f*sign(w) + <floating>p.l2*f*w


cdef inline floating prox(const Penalty* p, floating x, floating eta, floating f) noexcept nogil:
    """The minimiser over v of (v − x)²/(2·eta) + the penalty at v."""
    if Penalty is Ridge:
        return x*l2_shrinkage(p, eta, f)
    elif Penalty is MCP:
        return mcp_prox(p, x*l2_shrinkage(p, eta, f), eta*l2_shrinkage(p, eta, f), <floating>p.l1*f)
    else:
        return soft_scaled(x, l1_threshold(p, eta, f), l2_shrinkage(p, eta, f))


cdef inline double value(const Penalty* p, double w, double f) noexcept nogil:
    """The penalty at w. A strength of zero adds nothing, even at an infinite weight."""
    cdef double l1, l2 = 0.5*p.l2*f
    if Penalty is Ridge:
        return l2*(w*w) if l2 != 0 else 0
    elif Penalty is MCP:
        return mcp_value(p, absolute(w), p.l1*f) + (l2*(w*w) if l2 != 0 else 0)
    else:
        l1 = p.l1*f
        return (l1*absolute(w) if l1 != 0 else 0) + (l2*(w*w) if l2 != 0 else 0)


# -- The parts of MCP (Zhang, "Nearly unbiased variable selection under minimax concave penalty", 2010) ---------------

cdef inline floating mcp_slope(const MCP* p, floating size, floating l1) noexcept nogil:
    """The derivative by |w| of MCP without its l2: from l1 down to 0 at gamma·l1."""
    cdef floating slope = l1 - size/<floating>p.gamma
    return <floating>0 if slope <= 0 else slope


cdef inline floating mcp_prox(const MCP* p, floating x, floating eta, floating l1) noexcept nogil:
    """The proximal operator of MCP without its l2: a firm threshold.

    In a step as large as gamma the objective is concave below gamma·l1: a hard threshold, where both ends are equal.
    """
    cdef floating gamma = <floating>p.gamma
    cdef floating firm = soft(x, eta*l1)/(<floating>1 - eta/gamma)
    cdef floating hard = <floating>0 if absolute(x) <= l1*root(eta*gamma) else x
    # Near gamma the quotient magnifies rounding errors: it must not make a weight grow.
    firm = x if absolute(x) > gamma*l1 or absolute(firm) > absolute(x) else firm
    return hard if eta >= gamma else firm


cdef inline double mcp_value(const MCP* p, double size, double l1) noexcept nogil:
    return 0.5*p.gamma*(l1*l1) if size > p.gamma*l1 else l1*size - size*size/(2*p.gamma)


# -- The elastic net's parts, for its closed forms --------------------------------------------------------------------

cdef inline floating l1_threshold(const Penalty* p, floating eta, floating f) noexcept nogil:
    """What l1 takes off |w| in a step of size eta."""
    if Penalty is Ridge:
        return 0
    else:
        return eta*(<floating>p.l1*f)


cdef inline floating l2_shrinkage(const Penalty* p, floating eta, floating f) noexcept nogil:
    """The factor by which l2 shrinks a weight in a proximal step of size eta."""
    return <floating>1/(<floating>1 + eta*(<floating>p.l2*f))


cdef inline floating truncated(const Truncated* m, const Penalty* p, floating w, floating u, floating eta,
                               floating f) noexcept nogil:
    """l2 by gradient, then l1 by a soft threshold of weights up to theta (Langford, Li & Zhang 2009)."""
    cdef floating x = w - u - eta*(<floating>p.l2*f)*w
    if Penalty is Ridge:
        return x
    elif m.theta == INFINITY:  # the same for all weights, so that the compiler makes two loops of one
        return soft(x, l1_threshold(p, eta, f))
    else:
        return soft(x, l1_threshold(p, eta if absolute(x) <= <floating>m.theta else <floating>0, f))


cdef inline floating denominator(const Adaptive* d, floating squares) noexcept nogil:
    """What lr is divided by in the step size of a coordinate with this sum, or mean, of squared gradients."""
    if Adaptive is FTRL:
        return <floating>d.beta + root(squares)
    elif Adaptive in BiasCorrected:
        return root(squares)*<floating>d.bias_correction2 + <floating>d.eps
    else:
        return root(squares) + <floating>d.eps


cdef inline floating curvature(const FTRL* d, floating n) noexcept nogil:
    """FTRL-Proximal: the second derivative of what `solve` minimises, without the penalty."""
    return denominator(d, n)/<floating>d.lr


cdef inline floating solve(const FTRL* d, const Penalty* p, floating z, floating n, floating f) noexcept nogil:
    """FTRL-Proximal: the weight that minimises z·w + (beta + √n)/(2·lr)·w² + the penalty, in closed form."""
    cdef floating c = curvature(d, n)
    if Penalty is Ridge:
        return -z/(c + <floating>p.l2*f)
    elif Penalty is MCP:
        return prox(p, -z/c, <floating>1/c, f)
    else:
        return soft(-z, <floating>p.l1*f)/(c + <floating>p.l2*f)


cdef inline floating warm_start(const FTRL* d, const ElasticNet* p, floating w, floating n, floating f) noexcept nogil:
    """FTRL-Proximal: the z from which `solve` gives back w."""
    return -w*(curvature(d, n) + <floating>p.l2*f) - <floating>p.l1*f*sign(w)


cdef inline floating reanchored(const FTRL* before, const FTRL* d, floating w, floating z, floating n) noexcept nogil:
    """FTRL-Proximal: z, which was built on the lr and beta of `before`, for those of d: `solve` still gives w.

    Without it, a change of lr would multiply the weights even where the gradient is zero.
    """
    return z if w == 0 else z + (curvature(before, n) - curvature(d, n))*w


# -- Directions: one step ---------------------------------------------------------------------------------------------

cdef inline bint correct(Direction* d, double power1, double power2) noexcept nogil:
    """Sets the bias corrections from beta1ᵗ and beta2ᵗ, t this step included; whether the direction has any."""
    if Direction in BiasCorrected:
        d.bias_correction1 = 1/(1 - power1)
        d.bias_correction2 = 1/sqrt(1 - power2)
        return True
    else:
        return False


cdef inline void advance(const Direction* d, double* power1, double* power2) noexcept nogil:
    """beta1ᵗ and beta2ᵗ after one more step. Running products, since the bits of pow differ between machines."""
    if Direction in BiasCorrected:
        power1[0] *= d.beta1
        power2[0] *= d.beta2


cdef inline floating adaptive_rate(const Adaptive* d, floating squares) noexcept nogil:
    """The step size of a coordinate with this sum, or mean, of squared gradients."""
    return <floating>d.lr/denominator(d, squares)


cdef inline floating move(const Direction* d, floating g, floating* a, floating* b, floating* c,
                          floating* eta) noexcept nogil:
    """The move u, after the state a, b, c has taken in the gradient g; also sets the coordinate's step size eta."""
    cdef floating m
    if Direction is Plain:
        eta[0] = <floating>d.lr
        return eta[0]*g
    elif Direction is Momentum:
        a[0] = <floating>d.momentum*a[0] + <floating>d.one_minus_dampening*g
        eta[0] = <floating>d.eta
        return <floating>d.lr*a[0]
    elif Direction is Nesterov:
        a[0] = <floating>d.momentum*a[0] + g
        eta[0] = <floating>d.eta
        return <floating>d.lr*(g + <floating>d.momentum*a[0])
    elif Direction is Adagrad:
        a[0] = a[0] + g*g
        eta[0] = adaptive_rate(d, a[0])
        return eta[0]*g
    elif Direction is RMSprop:
        a[0] = <floating>d.alpha*a[0] + <floating>d.one_minus_alpha*(g*g)
        eta[0] = adaptive_rate(d, a[0])
        return eta[0]*g
    elif Direction is Adam:
        a[0] = <floating>d.beta1*a[0] + <floating>d.one_minus_beta1*g
        b[0] = <floating>d.beta2*b[0] + <floating>d.one_minus_beta2*(g*g)
        eta[0] = adaptive_rate(d, b[0])
        return eta[0]*(a[0]*<floating>d.bias_correction1)
    elif Direction is AMSGrad:
        a[0] = <floating>d.beta1*a[0] + <floating>d.one_minus_beta1*g
        b[0] = <floating>d.beta2*b[0] + <floating>d.one_minus_beta2*(g*g)
        c[0] = c[0] if c[0] > b[0] else b[0]
        eta[0] = adaptive_rate(d, c[0])
        return eta[0]*(a[0]*<floating>d.bias_correction1)
    elif Direction is Lion:
        m = <floating>d.beta1*a[0] + <floating>d.one_minus_beta1*g
        a[0] = <floating>d.beta2*a[0] + <floating>d.one_minus_beta2*g
        eta[0] = <floating>d.lr
        return eta[0]*(sign(m) if m == m else m)
    else:
        return 0  # FTRL has no move: see `accumulate` and `solve`


cdef inline void accumulate(const FTRL* d, floating w, floating g, floating* z, floating* n) noexcept nogil:
    """FTRL-Proximal: the state takes in the gradient g at w."""
    cdef floating before = root(n[0])
    n[0] = n[0] + g*g
    z[0] = z[0] + (g - (root(n[0]) - before)/<floating>d.lr*w)


cdef inline void accumulate_at_zero(floating g, floating* z, floating* n) noexcept nogil:
    """`accumulate` at a weight of zero, which needs no root; as there, z becomes NaN where n overflows."""
    n[0] = n[0] + g*g
    z[0] = z[0] + (g - n[0]*<floating>0)


# -- One step ---------------------------------------------------------------------------------------------------------

cdef inline floating step(const Direction* d, const Mode* m, const Penalty* p, floating w, floating g, floating* a,
                          floating* b, floating* c, floating f) noexcept nogil:
    """The new weight. `a`, `b`, `c` point to the coordinate's state, NULL for none, and f its factor or 1."""
    cdef floating eta = 0
    cdef floating u
    if Direction is FTRL:
        accumulate(d, w, g, a, b)
        return solve(d, p, a[0], b[0], f)
    elif Mode is Subgradient:
        return w - move(d, subgradient(p, g, w, f), a, b, c, &eta)
    else:
        u = move(d, g, a, b, c, &eta)
        if Mode is Decoupled:
            return w - u - <floating>d.lr*subgradient(p, <floating>0, w, f)
        elif Mode is Truncated:
            return truncated(m, p, w, u, eta, f)
        else:
            return prox(p, w - u, eta, f)
