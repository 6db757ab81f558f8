"""A package that cimports the rules of fastreg. The build needs only Cython and setuptools."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    name="consumer",
    ext_modules=cythonize([Extension("consumer", ["consumer.pyx"], extra_compile_args=["-O3", "-ffp-contract=off"])]),
)
