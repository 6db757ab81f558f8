"""Somebody else's package that cimports fastreg's rules: nothing but Cython and setuptools is needed to build it."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    name="consumer",
    ext_modules=cythonize([Extension("consumer", ["consumer.pyx"], extra_compile_args=["-O3", "-ffp-contract=off"])]),
)
