# Layers 2 and 3, compiled once per instruction set: a few-line .pyx includes this file (not a template, not ifunc: that
# is missing in musl and macOS). One loop gives every direction × mode × penalty × dtype; the functions above it choose
# among them, one choice each. No formula, no Python object. The table of entry points leaves in a capsule.
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from fastreg._kernels.table cimport (
    ADAGRAD, ADAM, AMSGRAD, BFLOAT16, CAPSULE, DECOUPLED, DType, FLOAT32, FTRL_PROXIMAL, Kernels, LION, MOMENTUM,
    NESTEROV, PLAIN, PROXIMAL, RMSPROP, SUBGRADIENT, Task,
)
from fastreg.rules cimport (
    bfloat16, Decoupled, Direction, ElasticNet, floating, FTRL, Linear, Lion, magnitude, Mode, narrowed, nearest,
    OneState, Penalty, Plain, Proximal, Ridge, square, step, Subgradient, ThreeStates, Truncated, TwoStates, Weighted,
    widened,
)


# -- Layer 2: loops ---------------------------------------------------------------------------------------------------

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
      #define fastreg_prefetch(address) __builtin_prefetch(address)
      #define fastreg_prefetch_level2(address) __builtin_prefetch(address, 0, 2)
    #else
      #define fastreg_prefetch(address) ((void)0)
      #define fastreg_prefetch_level2(address) ((void)0)
    #endif
    """
    void prefetch "fastreg_prefetch"(const void* address) noexcept nogil
    void prefetch_level2 "fastreg_prefetch_level2"(const void* address) noexcept nogil

cdef enum:
    CHUNK = 16    # coordinates: a cache line of float32, two of float64
    AHEAD = 2048  # bytes: far enough for the memory, near enough for the first-level cache
    FAR = 1 << 20  # bytes of an array that does not come from the second level


cdef inline void fetch(const floating* there) noexcept nogil:
    """Asks for the chunk that is AHEAD of this one."""
    cdef Py_ssize_t j
    for j in range(<Py_ssize_t>(CHUNK*sizeof(floating)//64)):
        prefetch(<const char*>there + AHEAD + 64*j)


cdef inline void fetch_level2(const floating* there) noexcept nogil:
    """The same from twice as far, and into the second level alone.

    In memory, what limits is how much the first level can wait for at a time. With the gradient kept out of that, rules
    with l1 came from 1.05 to 1.03 of the time of a loop without arithmetic (InDram).
    """
    cdef Py_ssize_t j
    for j in range(<Py_ssize_t>(CHUNK*sizeof(floating)//64)):
        prefetch_level2(<const char*>there + 2*AHEAD + 64*j)


cdef inline void copy(const floating* there, floating* here) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(CHUNK):
        here[j] = there[j]


cdef void dense(Direction d, Mode m, Penalty p, floating* w, const floating* g, floating* a, floating* b, floating* c,
                const floating* f, Py_ssize_t n) noexcept nogil:
    """All coordinates, in chunks whose results are written when the whole chunk has been worked out.

    A loop that stores each weight before it loads the next took up to 1.6 times as long (Dense and Step in
    benchmarks/suite): it has fewer loads in flight, and the compiler asks at run time whether the arrays overlap.
    Structs come by value, so that no store to w can change them.
    """
    cdef floating[CHUNK] w_, a_, b_, c_
    cdef bint far = n > <Py_ssize_t>(FAR//sizeof(floating))
    cdef Py_ssize_t i, j, k
    for k in range(n // CHUNK):
        i = CHUNK*k
        fetch(w + i)
        if far:
            fetch_level2(g + i)
        if Direction in OneState:
            fetch(a + i)
            copy(a + i, a_)
        if Direction in TwoStates:
            fetch(b + i)
            copy(b + i, b_)
        if Direction in ThreeStates:
            fetch(c + i)
            copy(c + i, c_)
        for j in range(CHUNK):
            w_[j] = step(&d, &m, &p, w[i + j], g[i + j], a_ + j, b_ + j, c_ + j, f + i + j)
        copy(w_, w + i)
        if Direction in OneState:
            copy(a_, a + i)
        if Direction in TwoStates:
            copy(b_, b + i)
        if Direction in ThreeStates:
            copy(c_, c + i)
    for i in range(n - n % CHUNK, n):
        w[i] = step(&d, &m, &p, w[i], g[i], a + i, b + i, c + i, f + i)


cdef void scale_all(floating* w, Py_ssize_t n, floating factor) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        w[i] = w[i]*factor


cdef bint all_finite(const floating* w, Py_ssize_t n) noexcept nogil:
    """Without a way out of the loop, which would keep it from being vectorised."""
    cdef int bad = 0
    cdef Py_ssize_t i
    for i in range(n):
        bad |= w[i] - w[i] != 0
    return bad == 0


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


include "bfloat16.pxi"


# -- Layer 3: from codes to types, one choice a function; many tensors in one call ------------------------------------

cdef void with_dtype(Direction d, Mode m, Penalty p, const Task* t) noexcept nogil:
    if t.dtype == FLOAT32:
        dense(d, m, p, <float*>t.w, <const float*>t.g, <float*>t.a, <float*>t.b, <float*>t.c, <const float*>t.f, t.n)
    elif t.dtype == BFLOAT16:
        striped(d, m, p, <bfloat16*>t.w, <const bfloat16*>t.g, <float*>t.a, <float*>t.b, <float*>t.c,
                <const float*>t.f, t.n)
    else:
        dense(d, m, p, <double*>t.w, <const double*>t.g, <double*>t.a, <double*>t.b, <double*>t.c,
              <const double*>t.f, t.n)


cdef void with_penalty(Direction d, Mode m, const Task* t) noexcept nogil:
    if t.f != NULL:
        with_dtype(d, m, Weighted(t.l1, t.l2), t)
    elif t.l1 != 0:
        with_dtype(d, m, ElasticNet(t.l1, t.l2), t)
    else:
        with_dtype(d, m, Ridge(t.l2), t)


cdef void with_mode(Direction d, const Task* t) noexcept nogil:
    """Only the modes that have a meaning for the direction; the boundary asks for no other."""
    if Direction is FTRL:
        with_penalty(d, Proximal(0), t)
    elif Direction is Lion:
        with_penalty(d, Decoupled(0), t)
    else:
        if t.mode == SUBGRADIENT:
            with_penalty(d, Subgradient(0), t)
        elif t.mode == DECOUPLED:
            with_penalty(d, Decoupled(0), t)
        elif t.mode == PROXIMAL:
            with_penalty(d, Proximal(0), t)
        elif Direction in Linear:
            with_penalty(d, Truncated(t.theta), t)


cdef void with_direction(const Task* t) noexcept nogil:
    if t.direction == PLAIN:
        with_mode(t.d.plain, t)
    elif t.direction == MOMENTUM:
        with_mode(t.d.momentum, t)
    elif t.direction == NESTEROV:
        with_mode(t.d.nesterov, t)
    elif t.direction == ADAGRAD:
        with_mode(t.d.adagrad, t)
    elif t.direction == RMSPROP:
        with_mode(t.d.rmsprop, t)
    elif t.direction == ADAM:
        with_mode(t.d.adam, t)
    elif t.direction == AMSGRAD:
        with_mode(t.d.amsgrad, t)
    elif t.direction == LION:
        with_mode(t.d.lion, t)
    elif t.direction == FTRL_PROXIMAL:
        with_mode(t.d.ftrl, t)


cdef void update(const Task* tasks, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        if tasks[i].g != NULL:
            with_direction(&tasks[i])


cdef void sums(DType dtype, const void* w, Py_ssize_t n, double* sum_abs, double* sum_squares) noexcept nogil:
    sum_abs[0] = 0
    sum_squares[0] = 0
    if dtype == FLOAT32:
        all_sums(<const float*>w, n, sum_abs, sum_squares)
    elif dtype == BFLOAT16:
        striped_sums(<const bfloat16*>w, n, sum_abs, sum_squares)
    else:
        all_sums(<const double*>w, n, sum_abs, sum_squares)


cdef void scale(DType dtype, void* w, Py_ssize_t n, double factor) noexcept nogil:
    if dtype == FLOAT32:
        scale_all(<float*>w, n, <float>factor)
    elif dtype == BFLOAT16:
        striped_scale(<bfloat16*>w, n, <float>factor)
    else:
        scale_all(<double*>w, n, factor)


cdef bint finite(DType dtype, const void* w, Py_ssize_t n) noexcept nogil:
    if dtype == FLOAT32:
        return all_finite(<const float*>w, n)
    elif dtype == BFLOAT16:
        return striped_finite(<const bfloat16*>w, n)
    else:
        return all_finite(<const double*>w, n)


include "lazy.pxi"
include "linear.pxi"
include "lazy_types.pxi"

cdef Kernels table = Kernels(&update, &sums, &scale, &finite, &survey, &with_operation)
kernels = PyCapsule_New(&table, CAPSULE, NULL)


# -- What the build knows ---------------------------------------------------------------------------------------------

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
      #pragma fp_contract(off) /* on by default before Visual Studio 2022, under /fp:precise too */
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
