# Between layers 3 and 4: what the boundary asks of a set of kernels. Each instruction set hands its entry points over
# in a table inside a capsule, so that no Python class ever belongs to an instruction set.

from fastreg.losses cimport LossCode
from fastreg.rules cimport Adagrad, Adam, AMSGrad, Clock, FTRL, Lion, Momentum, Nesterov, Plain, RMSprop

cdef extern from *:
    """
    #define FASTREG_CAPSULE "fastreg.kernels"
    #if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(_M_FP_FAST) \\
        || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
      #error "fastreg: -ffast-math, /fp:fast or a part of it is on; remove it: results would differ from the reference"
    #endif
    #if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
      #error "fastreg: float arithmetic has excess precision (x87?); use -msse2 -mfpmath=sse"
    #endif
    """
    const char* CAPSULE "FASTREG_CAPSULE"

cdef enum DType:
    FLOAT32
    FLOAT64
    BFLOAT16  # of weights and gradients; the arithmetic, the state and the factors are float32

cdef enum DirectionCode:  # the order of reference.DIRECTIONS
    PLAIN
    MOMENTUM
    NESTEROV
    ADAGRAD
    RMSPROP
    ADAM
    AMSGRAD
    LION
    FTRL_PROXIMAL

cdef enum ModeCode:  # the order of reference.MODES
    SUBGRADIENT
    DECOUPLED
    TRUNCATED
    PROXIMAL

cdef union AnyDirection:
    Plain plain
    Momentum momentum
    Nesterov nesterov
    Adagrad adagrad
    RMSprop rmsprop
    Adam adam
    AMSGrad amsgrad
    Lion lion
    FTRL ftrl

cdef struct Task:  # one update of one tensor
    DType dtype
    DirectionCode direction
    ModeCode mode
    AnyDirection d
    double l1
    double l2
    double theta
    Py_ssize_t n
    void* w
    const void* g
    void* a
    void* b
    void* c
    const void* f

cdef enum IndexType:
    INT32
    INT64

ctypedef fused index:  # the types that they stand for
    int
    long long

cdef enum Operation:  # on rows:
    STEP    # a step for each sparse gradient
    LEARN   # a step for each sample of a linear model
    SETTLE  # bring all rows up to date
    PEEK    # tell what they would be

cdef struct Rows:  # a matrix of weights under gradients that have few rows; a vector is one of width 1
    DType dtype
    DirectionCode direction  # PLAIN, ADAGRAD or FTRL_PROXIMAL
    ModeCode mode            # PROXIMAL or TRUNCATED
    AnyDirection d           # as of the last step, like l1 and l2
    double l1
    double l2
    Py_ssize_t rows
    Py_ssize_t width
    Py_ssize_t pitch         # from row to row of w, a and b, in elements: width, or more where they lie together
    void* w
    void* a
    void* b
    const void* f
    char* stamps             # by row: for PLAIN a Stamp, for ADAGRAD the steps, as long long; none for FTRL
    Py_ssize_t stamp_pitch   # in bytes
    Clock clock              # for PLAIN
    long long steps

cdef struct Sparse:  # gradients, samples or places in compressed rows, and what else an operation needs
    Operation operation
    Py_ssize_t count           # of steps; for PEEK, of places
    IndexType index
    const void* indices        # NULL to PEEK at all rows
    const Py_ssize_t* starts   # count + 1 places in indices and data
    bint shared                # all samples have the same indices: dense ones
    const void* data           # for PEEK, where to write
    const double* lr           # by step
    const double* l1
    const double* l2
    Py_ssize_t stride          # 1, or 0 where they are the same for all steps
    Py_ssize_t* places         # of each row in a gradient, -1 in between; NULL where no row comes twice in one
    void* merged               # a gradient's rows, each once
    void* sums                 # and what stands beside them
    LossCode loss              # from here on for LEARN
    double epsilon
    double curvature           # of the loss, at most: learning rates that overshoot are cut; 0 for not
    const double* squares      # the squared length of each sample
    const Py_ssize_t* order    # the samples of the steps
    const double* targets      # ±1 or a number; for a width above 1, the class
    const double* weights      # of the steps; NULL for 1 each
    double intercept_rate      # its learning rate, or 0 for that of the weights
    void* intercept            # NULL for none; then its state
    void* intercept_a
    void* intercept_b
    double* margins            # one for each column, to work with
    void* slopes               # two for each column
    void* since                # for a width of 1, a Missed and four numbers for each feature of the longest sample
    void* desk
    Py_ssize_t longest
    double total               # of the losses, added up here

cdef struct Kernels:
    void (*update)(const Task* tasks, Py_ssize_t count) noexcept nogil
    void (*sums)(DType dtype, const void* w, Py_ssize_t n, double* sum_abs, double* sum_squares) noexcept nogil
    void (*scale)(DType dtype, void* w, Py_ssize_t n, double factor) noexcept nogil
    bint (*finite)(DType dtype, const void* w, Py_ssize_t n) noexcept nogil
    int (*survey)(const Sparse* job, Py_ssize_t rows, Py_ssize_t* longest) noexcept nogil
    void (*rows)(Rows* t, Sparse* job) noexcept nogil
