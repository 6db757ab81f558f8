# Layer 4, when z of FTRL has to be built anew; for optimizers over arrays and for those of torch.
from fastreg._kernels.table cimport FTRL


cdef inline FTRL reanchored_from(const FTRL* built_on, const FTRL* d) noexcept:
    """Task.built_on for a step with d. The lr of `built_on` is 0 if z fits any, infinite if it has no part of them."""
    if d.lr != 0 and built_on.lr != 0 and (d.lr != built_on.lr or d.beta != built_on.beta):
        return built_on[0]
    return FTRL(0, 0)
