"""The fixture of the tests of threads, which need more processors than a machine may have."""

from functools import cache

import pytest
from thread_cases import SLICE

from fastreg._boundary import threads


@pytest.fixture
def seven_processors(monkeypatch):
    """Seven processors and a new pool; afterwards the default number of threads and the pool are as before."""
    default = threads._default
    monkeypatch.setattr(threads, "MIN_BYTES_PER_THREAD", SLICE)
    monkeypatch.setattr(threads, "available", cache(lambda: 7))
    monkeypatch.setattr(threads, "pool", threads.Pool())
    yield
    threads.pool.close()
    threads._default = default
