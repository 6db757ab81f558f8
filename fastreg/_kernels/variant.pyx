"""The kernels, compiled for the processor family's baseline."""
include "kernels.pxi"
