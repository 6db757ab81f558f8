"""The kernels, compiled for AVX2."""
include "_kernels.pxi"
