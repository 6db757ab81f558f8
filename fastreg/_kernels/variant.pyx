"""The kernels of one instruction set: a capsule for the boundary, and how they were compiled.

Translated once; the build compiles a copy for each variant in variants.py (not a template, and not ifunc, which is
missing in musl and macOS). The included files are the layers: loops (2), then the choice of their types (3). One loop
gives every direction × mode × penalty × factor × dtype. No formula and, the two lines with the capsule apart, no
Python object.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, NAN, sqrt
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from fastreg._kernels.bfloat16 cimport *
from fastreg._kernels.prefetch cimport *
from fastreg._kernels.slices cimport (
    bytes_of, contiguous_arrays, contiguous_pitch, lines_of_panel, panel_of, panels_of, panels_of_column, rate_of_z,
    shifted,
)
from fastreg._kernels.table cimport *
from fastreg.catch_up cimport *
from fastreg.groups cimport (
    add_moments, add_slopes, even_factor, first_norm, GROUP_SUMS, inverse_norm, is_close, is_improved, is_iterated,
    metric, MOST_ITERATIONS, multiplied, shrunk,
)
from fastreg.losses cimport (
    GAMMA, largest_curvature, LOG_LOSS, log_loss, log_loss_slope, log_sum_exp, Loss, loss, MULTINOMIAL, POISSON, raised,
    slope,
)
from fastreg.rules cimport *

include "dense.pxi"
include "bfloat16.pxi"
include "group_sums.pxi"
include "group_steps.pxi"
include "dense_types.pxi"
include "groups.pxi"
include "group_panels.pxi"
include "lazy_groups.pxi"
include "lazy.pxi"
include "lazy_bounds.pxi"
include "lazy_steps.pxi"
include "linear_dense.pxi"
include "linear.pxi"
include "lazy_types.pxi"
include "descent.pxi"
include "progressive.pxi"
include "strength_rows.pxi"
include "linear_strengths.pxi"
include "strength_dense.pxi"
include "strength_types.pxi"

cdef Kernels table = Kernels(
    &update, &with_direction, &penalty, &group_values, &scale, &finite, &survey, &lazy_step, &lazy_flush, &lazy_read,
    &linear_learn, &passes_size, &pass_panel, &end_pass, &descent, &strengths_learn, &strengths_flush,
    &strengths_read,
)
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
