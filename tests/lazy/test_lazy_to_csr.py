"""The up-to-date weights as a sparse matrix."""

import builtins
import tracemalloc

import numpy as np
import pytest
from lazy_cases import CASES, DTYPES, each, gradients, make, snapshot, weights

import fastreg

SHAPES = [(0,), (1,), (40,), (40_000,), (30, 3), (20_000, 2), (5, 0), (0, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_it_has_the_bits_of_the_weights(name, dtype, shape):
    pytest.importorskip("scipy")
    lazy = make(name, weights(shape, dtype), l1=0.05)
    if shape[0] and shape[-1]:
        for indices, values in each(*gradients(20, shape, dtype)):
            lazy.step(indices, values)
    before, expected = snapshot(lazy), lazy.weights()
    x = lazy.to_csr()
    assert x.format == "csr"
    assert x.dtype == dtype
    assert x.nnz == np.count_nonzero(expected)
    assert x.shape == (shape if len(shape) == 2 else (1, *shape))
    assert x.has_canonical_format
    np.testing.assert_array_equal(x.toarray(), expected.reshape(x.shape))
    assert snapshot(lazy) == before


def test_there_is_no_dense_copy():
    pytest.importorskip("scipy.sparse")
    w = np.zeros(1 << 20)
    lazy = fastreg.LazySGD(w, 0.1, l1=0.01)
    lazy.step(np.arange(0, 1 << 20, 200), np.ones(5243))
    lazy.to_csr()
    tracemalloc.start()
    x = lazy.to_csr()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert x.nnz == 5243
    assert peak < w.nbytes / 10


def test_without_scipy_there_is_a_clear_error(monkeypatch):
    original = builtins.__import__

    def without_scipy(name, *args, **kwargs):
        if name.startswith("scipy"):
            raise ImportError("No module named 'scipy'")
        return original(name, *args, **kwargs)

    lazy = fastreg.LazySGD(np.ones(3), 0.1)
    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError, match=r"^to_csr: expected SciPy, pip install scipy; No module"):
        lazy.to_csr()
