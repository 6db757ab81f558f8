# Layers 2 and 3, compiled once per instruction set: a few-line .pyx includes this file (not a template, not ifunc: that
# is missing in musl and macOS). One loop gives every direction × mode × penalty × dtype; the functions above it choose
# among them, one choice each. No formula, no Python object. The table of entry points leaves in a capsule.
from cpython.pycapsule cimport PyCapsule_New

from fastreg._kernels cimport CAPSULE, DECOUPLED, FLOAT32, Kernels, PROXIMAL, Rule, SUBGRADIENT, Tensor, TRUNCATED
from fastreg.rules cimport (
    Decoupled, Direction, ElasticNet, floating, magnitude, Mode, Penalty, Plain, Proximal, Ridge, square, step,
    Subgradient, Truncated,
)


# -- Layer 2: loops ---------------------------------------------------------------------------------------------------

cdef void dense(Direction d, Mode m, Penalty p, floating* w, const floating* g, floating* a, floating* b, floating* c,
                Py_ssize_t n) noexcept nogil:
    """Structs by value: the compiler then knows that no store to w changes them."""
    cdef Py_ssize_t i
    for i in range(n):
        w[i] = step(&d, &m, &p, w[i], g[i], a + i, b + i, c + i)


cdef enum:
    BLOCK = 4096
    LANES = 16


cdef void block_sums(const floating* w, Py_ssize_t n, double* sum_abs, double* sum_squares) noexcept nogil:
    """Adds the sums over at most one block to the totals, each lane apart and the lanes pairwise at the end."""
    cdef double[LANES] absolute
    cdef double[LANES] squares
    cdef Py_ssize_t row, j, half
    for j in range(LANES):
        absolute[j] = 0
        squares[j] = 0
    for row in range(n // LANES):
        for j in range(LANES):
            absolute[j] += magnitude(<double>w[LANES*row + j])
            squares[j] += square(<double>w[LANES*row + j])
    for j in range(n % LANES):
        absolute[j] += magnitude(<double>w[n - n % LANES + j])
        squares[j] += square(<double>w[n - n % LANES + j])
    half = LANES // 2
    while half > 0:
        for j in range(half):
            absolute[j] += absolute[j + half]
            squares[j] += squares[j + half]
        half //= 2
    sum_abs[0] += absolute[0]
    sum_squares[0] += squares[0]


cdef void all_sums(const floating* w, Py_ssize_t n, double* sum_abs, double* sum_squares) noexcept nogil:
    cdef Py_ssize_t block
    for block in range(n // BLOCK):
        block_sums(w + BLOCK*block, BLOCK, sum_abs, sum_squares)
    block_sums(w + (n - n % BLOCK), n % BLOCK, sum_abs, sum_squares)


# -- Layer 3: from codes to types -------------------------------------------------------------------------------------

cdef void with_penalty(Direction d, Mode m, const Rule* rule, const Tensor* x) noexcept nogil:
    if rule.l1 != 0:
        with_dtype(d, m, ElasticNet(rule.l1, rule.l2), x)
    else:
        with_dtype(d, m, Ridge(rule.l2), x)


cdef void with_dtype(Direction d, Mode m, Penalty p, const Tensor* x) noexcept nogil:
    if x.dtype == FLOAT32:
        dense(d, m, p, <float*>x.w, <const float*>x.g, <float*>x.a, <float*>x.b, <float*>x.c, x.n)
    else:
        dense(d, m, p, <double*>x.w, <const double*>x.g, <double*>x.a, <double*>x.b, <double*>x.c, x.n)


cdef void with_mode(Direction d, const Rule* rule, const Tensor* x) noexcept nogil:
    if rule.mode == SUBGRADIENT:
        with_penalty(d, Subgradient(0), rule, x)
    elif rule.mode == DECOUPLED:
        with_penalty(d, Decoupled(0), rule, x)
    elif rule.mode == TRUNCATED:
        with_penalty(d, Truncated(rule.theta), rule, x)
    elif rule.mode == PROXIMAL:
        with_penalty(d, Proximal(0), rule, x)


cdef void update(const Rule* rule, const Tensor* x) noexcept nogil:
    with_mode(Plain(rule.lr), rule, x)


cdef void sums(const Tensor* x, double* sum_abs, double* sum_squares) noexcept nogil:
    sum_abs[0] = 0
    sum_squares[0] = 0
    if x.dtype == FLOAT32:
        all_sums(<const float*>x.w, x.n, sum_abs, sum_squares)
    else:
        all_sums(<const double*>x.w, x.n, sum_abs, sum_squares)


cdef Kernels table = Kernels(&update, &sums)
kernels = PyCapsule_New(&table, CAPSULE, NULL)


# -- What the build knows ---------------------------------------------------------------------------------------------

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
      #define FASTREG_STRING_(x) #x
      #define FASTREG_STRING(x) FASTREG_STRING_(x)
      #define FASTREG_COMPILER "MSVC " FASTREG_STRING(_MSC_FULL_VER)
    #elif defined(__clang__)
      #define FASTREG_COMPILER "clang " __clang_version__
    #else
      #define FASTREG_COMPILER "gcc " __VERSION__
    #endif
    """
    const char* FASTREG_COMPILER
    const char* FASTREG_FLAGS  # defined by setup.py

compiler = FASTREG_COMPILER.decode()
flags = FASTREG_FLAGS.decode()
