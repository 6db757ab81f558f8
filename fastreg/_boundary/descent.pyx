"""Layer 4, the end of a fit: derivatives of the loss by sample, and coordinate descent. Used by linear/newton.py.

All arrays are private to one fit; linear/newton.py copies the samples, which other threads may change.
"""
from numpy cimport (
    import_array, ndarray, NPY_DOUBLE, NPY_FLOAT, NPY_INT32, NPY_INT64, NPY_INTP, PyArray_DATA, PyArray_DIM,
    PyArray_ITEMSIZE, PyArray_SIZE,
)

from fastreg._boundary.checks cimport dtype_of, kernels, pointer_to
from fastreg._kernels.table cimport FLOAT32, Indices, INT32, INT64, Quadratic
from fastreg.losses cimport (
    curvature, log_sum_exp, Loss, loss as loss_of, LossCode, majorant, MULTINOMIAL, slope as slope_of,
)
from fastreg.structs cimport ElasticNet

import cython
import numpy as np

import_array()


def derivatives(ndarray margins, ndarray targets, ndarray weights, LossCode code, double parameter, double smoothing,
                bint exact):
    """The mean loss of samples, and their shares in its first and second derivatives by the margins.

    `margins` and both derivatives are float64 arrays (samples, classes), `targets` and `weights` (samples,); the
    weights are those of the mean, and add up to 1. The second derivatives are exact, or, where a loss is linear,
    those of parabolas above it.
    """
    cdef Py_ssize_t rows = PyArray_DIM(margins, 0), width = PyArray_DIM(margins, 1), i, c
    cdef const double* m = <const double*>pointer_to(margins, NPY_DOUBLE, rows*width, "margins")
    cdef const double* y = <const double*>pointer_to(targets, NPY_DOUBLE, rows, "y")
    cdef const double* share = <const double*>pointer_to(weights, NPY_DOUBLE, rows, "sample_weight")
    cdef ndarray slopes = np.empty((rows, width)), curvatures = np.empty((rows, width))
    cdef double* g = <double*>PyArray_DATA(slopes)
    cdef double* h = <double*>PyArray_DATA(curvatures)
    cdef Loss loss = Loss(code, parameter, smoothing)
    cdef double total = 0, shift = 0, margin, own
    with nogil:
        for i in range(rows):
            if code == MULTINOMIAL:
                shift = log_sum_exp(m + i*width, width)
            for c in range(width):
                margin, own = m[i*width + c] - shift, y[i] if width == 1 else 1 if y[i] == c else -1
                total += share[i]*loss_of(&loss, margin, own)
                g[i*width + c] = share[i]*slope_of(&loss, margin, own)
                if exact:
                    h[i*width + c] = share[i]*curvature(&loss, margin, own)
                else:  # for MULTINOMIAL, the matrix of second derivatives is at most twice its diagonal
                    h[i*width + c] = share[i]*majorant(&loss, margin, own)*(2 if code == MULTINOMIAL else 1)
    return total, slopes, curvatures


@cython.final
cdef class Descent:
    """Coordinate descent on Σ g·d + h·d²/2 plus the penalty, where d is what new weights and intercepts add to margins.

    Parameters
    ----------
    data, indices, starts : ndarray
        The samples by features, as in CSC; `indices` is None if all samples have all features. Checked by the caller.
    slopes, curvatures : ndarray, float64, (samples, classes)
        The derivatives. The slopes are changed.
    weights : ndarray, float64, (features, classes)
        Where the descent begins. They are changed.
    penalty : tuple
        l1, l2 and l21.
    factors : ndarray or None
        The penalty factor of each feature, float64.
    low : float
        The lower bound of the weights, at most 0.
    intercept : bool
        Whether there are intercepts.
    """

    cdef Quadratic q
    cdef readonly ndarray weights
    cdef readonly ndarray shift     # by class, what the intercepts have moved by
    cdef readonly ndarray slopes    # by sample and class, without what the intercepts add
    cdef readonly ndarray curvatures
    cdef readonly ndarray first     # by feature and class: Σ h·x
    cdef readonly ndarray second    # by feature and class, the second derivatives
    cdef readonly ndarray total     # by class, Σ h; 0 for no intercept
    cdef list memory

    def __cinit__(self, ndarray data, ndarray indices, ndarray starts, ndarray slopes, ndarray curvatures,
                  ndarray weights, tuple penalty, ndarray factors, double low, bint intercept):
        cdef Py_ssize_t features = PyArray_DIM(weights, 0), width = PyArray_DIM(weights, 1)
        cdef Py_ssize_t samples = PyArray_DIM(slopes, 0), entries
        self.q.dtype = dtype_of(data)
        self.q.width, self.q.count, self.q.low = width, features, low
        self.q.starts = <const Py_ssize_t*>pointer_to(starts, NPY_INTP, features + 1, "X")
        entries = self.q.starts[features]
        self.q.data = pointer_to(data, NPY_FLOAT if self.q.dtype == FLOAT32 else NPY_DOUBLE, entries, "X")
        self.q.indices = Indices(INT64, NULL)
        if indices is not None:
            self.q.indices.type = INT32 if PyArray_ITEMSIZE(indices) == 4 else INT64
            self.q.indices.data = pointer_to(indices, NPY_INT32 if self.q.indices.type == INT32 else NPY_INT64, entries,
                                             "X")
        self.slopes, self.curvatures, self.weights = slopes, curvatures, weights
        self.q.r = <double*>pointer_to(slopes, NPY_DOUBLE, samples*width, "slopes")
        self.q.h = <const double*>pointer_to(curvatures, NPY_DOUBLE, samples*width, "curvatures")
        self.q.w = <double*>pointer_to(weights, NPY_DOUBLE, features*width, "weights")
        self.total = curvatures.sum(axis=0) if intercept else np.zeros(width)
        self.shift = np.zeros(width)
        if intercept:
            np.divide(-slopes.sum(axis=0), self.total, out=self.shift, where=self.total > 0)
        self.first, self.second, work = np.empty((features, width)), np.empty((features, width)), np.empty(2*width)
        self.memory = [data, indices, starts, factors, work]
        self.q.total, self.q.shift = <double*>PyArray_DATA(self.total), <double*>PyArray_DATA(self.shift)
        self.q.first, self.q.second = <double*>PyArray_DATA(self.first), <double*>PyArray_DATA(self.second)
        self.q.work = <double*>PyArray_DATA(work)
        self.q.f = NULL if factors is None else <const double*>pointer_to(factors, NPY_DOUBLE, features, "factors")
        self.q.p, self.q.l21 = ElasticNet(penalty[0], penalty[1]), penalty[2]
        self.q.features = NULL
        with nogil:
            kernels.descent(&self.q)

    def sweep(self, ndarray features):
        """A step for each of these features, intp; returns what it takes off the objective, at least."""
        self.q.count = PyArray_SIZE(features)
        self.q.features = <const Py_ssize_t*>pointer_to(features, NPY_INTP, self.q.count, "features")
        with nogil:
            kernels.descent(&self.q)
        return self.q.decrease
