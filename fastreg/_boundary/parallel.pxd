# Layers 3 and 4 of threads: the kernels' work in slices, for as many threads as are asked for and worth it. None asks
# for the default of the process. Called with the GIL, which is released inside.
from fastreg._kernels.table cimport DType, Task

cdef int update(const Task* tasks, Py_ssize_t count, Py_ssize_t n, object threads) except -1
cdef Py_ssize_t nonfinite(const Task* tasks, Py_ssize_t count, object threads) except -2
cdef int sums(DType dtype, const void* w, Py_ssize_t n, double* sum_abs, double* sum_squares) except -1
cdef int scale(DType dtype, void* w, Py_ssize_t n, double factor) except -1
