"""The asv suite. One thread everywhere: the pools of NumPy's and SciPy's BLAS are pinned before they are loaded."""

import os

for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"
