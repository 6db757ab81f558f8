# cython: language_level=3, boundscheck=False, wraparound=False
"""One fused update on a typed memoryview, with the penalty of the caller's choice."""
from fastreg.rules cimport (
    Decoupled, ElasticNet, floating, Mode, Plain, Proximal, step, Subgradient, Truncated,
)


cdef void loop(Mode mode, floating[::1] w, const floating[::1] g, double lr, double l1, double l2) noexcept nogil:
    cdef Plain direction = Plain(lr)
    cdef ElasticNet penalty = ElasticNet(l1, l2)
    cdef Py_ssize_t i
    for i in range(w.shape[0]):
        w[i] = step(&direction, &mode, &penalty, w[i], g[i], NULL, NULL, NULL, 1)


def update(floating[::1] w, const floating[::1] g, double lr, double l1, double l2, str mode, double theta):
    if mode == "subgradient":
        loop(Subgradient(0), w, g, lr, l1, l2)
    elif mode == "decoupled":
        loop(Decoupled(0), w, g, lr, l1, l2)
    elif mode == "truncated":
        loop(Truncated(theta), w, g, lr, l1, l2)
    else:
        loop(Proximal(0), w, g, lr, l1, l2)
