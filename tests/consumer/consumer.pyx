# cython: language_level=3, boundscheck=False, wraparound=False
"""One fused update on a typed memoryview, with the penalty of the caller's choice, and the losses of margins."""
from fastreg.losses cimport curvature, largest_curvature, log_sum_exp, Loss, loss, LossCode, slope
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


def derivatives(LossCode code, double parameter, double smoothing, double margin, double y):
    """A loss, its slope, its curvature, and the largest one up to the minimum."""
    cdef Loss f = Loss(code, parameter, smoothing)
    return loss(&f, margin, y), slope(&f, margin, y), curvature(&f, margin, y), largest_curvature(&f, margin, y)


def logarithm_of_sum(const double[::1] margins):
    return log_sum_exp(&margins[0], margins.shape[0])
