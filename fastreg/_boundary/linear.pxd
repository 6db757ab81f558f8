# Layer 4: what strengths.pyx uses of the linear models.
from fastreg._kernels.table cimport Batch

cdef int point_to(Batch* batch, object samples, int type_num) except -1
