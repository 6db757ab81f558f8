# Between layers 3 and 4: what the boundary asks of a set of kernels. Each instruction set hands its entry points over
# in a table inside a capsule, so that no Python class ever belongs to an instruction set.

from fastreg.rules cimport Adagrad, Adam, AMSGrad, FTRL, Lion, Momentum, Nesterov, Plain, RMSprop

cdef extern from *:
    """
    #define FASTREG_CAPSULE "fastreg.kernels"
    """
    const char* CAPSULE "FASTREG_CAPSULE"

cdef enum DType:
    FLOAT32
    FLOAT64

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

cdef struct Kernels:
    void (*update)(const Task* tasks, Py_ssize_t count) noexcept nogil
    void (*sums)(DType dtype, const void* w, Py_ssize_t n, double* sum_abs, double* sum_squares) noexcept nogil
    void (*scale)(DType dtype, void* w, Py_ssize_t n, double factor) noexcept nogil
    bint (*finite)(DType dtype, const void* w, Py_ssize_t n) noexcept nogil
