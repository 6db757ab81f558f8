# Layer 4, the fast checks: they answer yes or no, through NumPy's C API. (Two typed memoryviews in a `def` cost four
# times as much, and accept misaligned data.) A module that cimports this file must call numpy's import_array.
from numpy cimport (
    ndarray, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_F_CONTIGUOUS, NPY_DOUBLE, NPY_FLOAT, PyArray_DATA, PyArray_DIMS,
    PyArray_FLAGS, PyArray_ISBEHAVED, PyArray_ISBEHAVED_RO, PyArray_NBYTES, PyArray_NDIM, PyArray_SIZE,
    PyArray_TYPE,
)

from fastreg._kernels.table cimport BFLOAT16, DType, FLOAT32, FLOAT64, IndexType, INT32, INT64, Kernels, Task

cdef enum:
    GIL_FREE = 8192  # with fewer elements, releasing the GIL (60 to 80 ns) costs more than it gains

cdef const Kernels* kernels  # those of the chosen instruction set

cdef ndarray slow_array(object x, str name)
cdef double slow_double(object x, str name) except? -1
cdef bint is_bfloat16(ndarray a) noexcept
cdef int check(double x, str name, bint single, bint finite=*) except -1
cpdef list guard(list arrays)
cdef list as_arrays(list grads, list names)
cdef int set_groups(Task* t, ndarray w, object axis, str name) except -1
cdef void* pointer_to(ndarray a, int type_num, Py_ssize_t n, str name) except? NULL


cdef inline ndarray as_array(object x, str name):
    """x as an ndarray over the same memory; may run Python code of x."""
    return <ndarray>x if type(x) is ndarray else slow_array(x, name)


cdef inline double as_double(object x, str name) except? -1:
    """x as a double; may run Python code of x."""
    return <double>x if isinstance(x, float) else slow_double(x, name)


cdef inline DType dtype_of(ndarray a) noexcept:
    """The dtype of an array that is_plain accepts."""
    cdef int type_num = PyArray_TYPE(a)
    return FLOAT64 if type_num == NPY_DOUBLE else FLOAT32 if type_num == NPY_FLOAT else BFLOAT16


cdef inline IndexType index_type(ndarray indices) noexcept:
    """INT32 or INT64, by size: NumPy's long is 4 or 8 bytes, depending on the platform."""
    return INT32 if PyArray_NBYTES(indices) == 4*PyArray_SIZE(indices) else INT64


cdef inline bint is_aligned_bfloat16(ndarray a) noexcept:
    """Checks the address, because NumPy asks for no alignment of BITS, a structure of two bytes."""
    return is_bfloat16(a) and <size_t>PyArray_DATA(a) % 2 == 0


cdef inline bint is_plain(ndarray a) noexcept:
    """A float32, float64 or bfloat16 array in native byte order, aligned and dense."""
    return ((PyArray_TYPE(a) == NPY_DOUBLE or PyArray_TYPE(a) == NPY_FLOAT or is_aligned_bfloat16(a))
            and PyArray_ISBEHAVED_RO(a) and PyArray_FLAGS(a) & (NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS) != 0)


cdef inline bint is_target(ndarray a) noexcept:
    """Whether the array is plain and writable."""
    return is_plain(a) and PyArray_ISBEHAVED(a)


cdef inline bint is_alike(ndarray w, ndarray g, DType dtype) noexcept:
    """Whether two plain arrays have the same shape and memory order, and g has this dtype."""
    cdef int i
    if (dtype_of(g) != dtype or PyArray_NDIM(w) != PyArray_NDIM(g)
            or PyArray_FLAGS(w) & PyArray_FLAGS(g) & (NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS) == 0):
        return False
    for i in range(PyArray_NDIM(w)):
        if PyArray_DIMS(w)[i] != PyArray_DIMS(g)[i]:
            return False
    return True


cdef inline object address(ndarray a):
    """The address of an array's data."""
    return <size_t>PyArray_DATA(a)


cdef inline bint is_disjoint(ndarray w, ndarray g) noexcept:
    """Whether two arrays have no byte in common."""
    cdef const char* x = <const char*>PyArray_DATA(w)
    cdef const char* y = <const char*>PyArray_DATA(g)
    return x >= y + PyArray_NBYTES(g) or y >= x + PyArray_NBYTES(w)


cdef inline bint is_pair(ndarray w, ndarray g) noexcept:
    """Whether w can be updated with g."""
    return is_target(w) and is_plain(g) and is_alike(w, g, dtype_of(w)) and is_disjoint(w, g)
