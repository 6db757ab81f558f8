# Layer 4, threads: the kernels' work in slices, in as many threads as are allowed and useful. `threads` is None for the
# default of the process. Call these functions with the GIL; they release it.
from fastreg._kernels.table cimport DType, Task

cdef int update(Task* tasks, Py_ssize_t count, Py_ssize_t n, object threads) except -1
cdef Py_ssize_t nonfinite(Task* tasks, Py_ssize_t count, object threads) except -2
cdef double penalty(const Task* t) except? -1
cdef int scale(DType dtype, void* w, Py_ssize_t n, double factor) except -1
