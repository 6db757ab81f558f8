"""Layer 4, between Python and the kernels: checks, exceptions, the GIL, threads, and the choice of the kernels."""
