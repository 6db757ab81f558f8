# Layer 1, structs and fused types, without a formula. rules.pxd and catch_up.pxd cimport all of them, so that their
# users need not; the boundary cimports them here, since formulas take Cython and C compilers seconds in each module.

ctypedef fused floating:
    float
    double


# -- Directions: a, b, c are the coordinate's state, in the order named here ------------------------------------------
#
# Fields that follow from others are computed in double by the optimizer, bias corrections by `correct`.

cdef struct Plain:
    double lr

cdef struct Momentum:  # buffer
    double lr
    double momentum
    double one_minus_dampening  # 1 at the first step, whose buffer is the undampened gradient
    double eta                  # lr·(1 − dampening)/(1 − momentum)

cdef struct Nesterov:  # buffer
    double lr
    double momentum
    double eta  # lr/(1 − momentum)

cdef struct Adagrad:  # sum of squares
    double lr
    double eps

cdef struct RMSprop:  # mean square
    double lr
    double alpha
    double one_minus_alpha
    double eps

cdef struct Adam:  # mean, mean square
    double lr
    double beta1
    double one_minus_beta1
    double beta2
    double one_minus_beta2
    double eps
    double bias_correction1  # 1/(1 − beta1ᵗ)
    double bias_correction2  # 1/√(1 − beta2ᵗ)

cdef struct AMSGrad:  # mean, mean square, its largest value
    double lr
    double beta1
    double one_minus_beta1
    double beta2
    double one_minus_beta2
    double eps
    double bias_correction1
    double bias_correction2

cdef struct Lion:  # mean
    double lr
    double beta1
    double one_minus_beta1
    double beta2
    double one_minus_beta2

cdef struct FTRL:  # z, n; z is built on both numbers: see `reanchored`
    double lr
    double beta

ctypedef fused Linear:  # the step size is that of the optimizer, the same for all coordinates
    Plain
    Momentum
    Nesterov

ctypedef fused BiasCorrected:  # running means start at zero, which `correct` compensates
    Adam
    AMSGrad

ctypedef fused Adaptive:  # coordinates differ in step size: it depends on a sum, or mean, of squared gradients
    Adagrad
    RMSprop
    BiasCorrected
    FTRL

# Every direction is in one of these four lists, by the number of its states.
ctypedef fused Stateless:
    Plain

ctypedef fused OneState:
    Momentum
    Nesterov
    Adagrad
    RMSprop
    Lion

ctypedef fused TwoStates:
    Adam
    FTRL

ctypedef fused ThreeStates:
    AMSGrad

ctypedef fused HasB:  # and a
    TwoStates
    ThreeStates

ctypedef fused HasA:
    OneState
    HasB

ctypedef fused Direction:
    Stateless
    HasA


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

cdef struct ElasticNet:  # l1·|w| + l2/2·w²
    double l1
    double l2

cdef struct Ridge:  # l2/2·w²: the elastic net without l1 and its arithmetic
    double l2

cdef struct MCP:  # l1·|w| − w²/(2·gamma) up to gamma·l1, from there the constant gamma·l1²/2; and l2/2·w²
    double l1
    double l2
    double gamma

ctypedef fused Penalty:
    ElasticNet
    Ridge
    MCP


# -- Steps without a gradient: see catch_up.pxd ----------------------------------------------------------------------

ctypedef fused Lazy:  # directions that have a closed form for any number of steps without a gradient
    Plain
    Adagrad
    FTRL

ctypedef fused LazyMode:  # modes that have one
    Truncated
    Proximal

cdef struct Clock:  # after t steps of Plain, with a the shrinkage of a step:
    double product       # P = Π a
    double inverse       # 1/P
    double total         # B = Σ lr·l1/P: the thresholds of l1 so far, in units that l2 does not shrink; see tick
    double compensation  # Kahan's, for the next term of B: a long stream must not accumulate rounding errors

cdef struct Stamp:  # the clock at the time when a weight was last up to date
    double inverse
    double total

cdef struct Missed:  # the steps since a weight was up to date
    double scale
    double threshold
    long long steps  # for Adagrad; for FTRL, all steps
