# Between layers 3 and 4: what the boundary asks of a set of kernels. Each instruction set hands its entry points over
# in a table inside a capsule, so that no Python class ever belongs to an instruction set.

cdef extern from *:
    """
    #define FASTREG_CAPSULE "fastreg.kernels"
    """
    const char* CAPSULE "FASTREG_CAPSULE"

cdef enum DType:
    FLOAT32
    FLOAT64

cdef enum ModeCode:  # the order of reference.MODES
    SUBGRADIENT
    DECOUPLED
    TRUNCATED
    PROXIMAL

cdef struct Rule:
    ModeCode mode
    double lr
    double l1
    double l2
    double theta

cdef struct Tensor:
    DType dtype
    Py_ssize_t n
    void* w
    const void* g
    void* a
    void* b
    void* c

cdef struct Kernels:
    void (*update)(const Rule* rule, const Tensor* x) noexcept nogil
    void (*sums)(const Tensor* x, double* sum_abs, double* sum_squares) noexcept nogil
