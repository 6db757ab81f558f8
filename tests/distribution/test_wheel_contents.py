"""The contents of wheel and sdist; another Cython package can be built against the installed wheel.

The tests use the wheel in FASTREG_WHEEL. Otherwise they build the sdist from the source tree and the wheel from it.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cases import SOURCE, TESTS

import fastreg
from fastreg._kernels.variants import VARIANTS
from fastreg.reference import MODES, losses

ABI3 = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The folder of a wheel and, if it was built here, of its sdist."""
    if "FASTREG_WHEEL" in os.environ:
        return Path(os.environ["FASTREG_WHEEL"]).resolve().parent
    if not (SOURCE / "setup.py").exists():
        pytest.skip("FASTREG_WHEEL is not set, and there is no source tree")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(SOURCE), cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions):
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with the files of the wheel, as in an installation."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_wheel_holds_what_users_need_and_no_source(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")]
    suffixes = {Path(name).suffix for name in names}
    assert suffixes == {".py", ".pxd", ".pyi", ".typed", ".pyd" if os.name == "nt" else ".so"}
    assert {"fastreg/rules.pxd", "fastreg/py.typed", "fastreg/_boundary/functions.pyi"} <= set(names)
    assert all(name.startswith("fastreg/") for name in names)
    compiled = {name.split(".")[0] for name in names if Path(name).suffix in {".so", ".pyd"}}
    stubs = {name.removesuffix(".pyi") for name in names if name.endswith(".pyi")}
    kernels = {f"fastreg/_kernels/{variant.module}" for variant in VARIANTS}  # only dispatch.py imports them
    assert {"fastreg/_boundary/functions", "fastreg/_boundary/cpu", "fastreg/_kernels/baseline"} <= compiled
    assert compiled - kernels <= stubs


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < 3_000_000


@pytest.mark.skipif(not ABI3, reason="no stable ABI on this Python")
def test_one_wheel_serves_every_python_from_3_11(wheel):
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        compiled = [name for name in archive.namelist() if name.endswith((".so", ".pyd"))]
    assert compiled
    assert os.name == "nt" or all(name.endswith(".abi3.so") for name in compiled)


def test_sdist_holds_the_sources_and_nothing_generated(distributions):
    archives = list(distributions.glob("*.tar.gz"))
    if not archives:
        pytest.skip("there is no sdist beside the wheel")
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    needed |= {"fastreg/_kernels/variant.pyx", "fastreg/_kernels/variants.py", "fastreg/_kernels/dense.pxi"}
    assert needed <= names
    assert not [name for name in names if name.endswith((".c", ".so", ".pyd", ".pyc"))]


@pytest.fixture(scope="module")
def consumer(site, tmp_path_factory):
    """The package in consumer/, compiled against the files of the wheel only."""
    folder = tmp_path_factory.mktemp("consumer") / "consumer"
    shutil.copytree(TESTS / "consumer", folder)
    command = (sys.executable, "setup.py", "-q", "build_ext", "--inplace")
    run(*command, cwd=folder, env=os.environ | {"PYTHONPATH": str(site)})
    (built,) = [path for path in folder.iterdir() if path.suffix in {".so", ".pyd"}]
    spec = importlib.util.spec_from_file_location("consumer", built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_cimported_rules_give_the_same_bits(consumer, mode, dtype):
    rng = np.random.default_rng(1)
    w, g = rng.standard_normal((2, 1000)).astype(dtype)
    theirs, ours, reference = w.copy(), w.copy(), w.copy()
    theta = 0.7 if mode == "truncated" else np.inf
    consumer.update(theirs, g, 0.1, 0.3, 0.2, mode, theta)
    fastreg.elastic_net_update(ours, g, 0.1, 0.3, 0.2, mode=mode, theta=theta)
    fastreg.reference.elastic_net_update(reference, g, 0.1, 0.3, 0.2, mode=mode, theta=theta)
    assert theirs.tobytes() == ours.tobytes() == reference.tobytes()


PARAMETERS = {"huber": (0.1, 1.0), "quantile": (0.2, 0.5), "tweedie": (0.0, 1.3, 1.5, 3.0)}
TARGETS = {"cross_entropy": (0.0, 0.3, 1.0), "gamma": (0.5, 2.0)} | dict.fromkeys(("poisson", "tweedie"), (0.0, 2.0))
LOSS_CASES = [(name, p, s) for name in losses.LOSSES for p in (PARAMETERS.get(name, (0.0,))) for s in (0.0, 0.5)]


@pytest.mark.parametrize("case", LOSS_CASES, ids=str)
def test_cimported_losses_and_their_derivatives(consumer, case):
    name, parameter, smoothing = case
    for y in TARGETS.get(name, (-1.0, 1.0)):
        for margin in np.concatenate([np.linspace(-3, 3, 61), [-1e10, -800, -40, 40, 800, 1e10]]):
            if name == "multinomial" and margin > 0:  # the margin is the logarithm of a probability
                continue
            own = consumer.derivatives(list(losses.LOSSES).index(name), parameter, smoothing, margin, y)
            for formula, value in zip((losses.loss, losses.slope, losses.curvature), own):
                expected = formula(name, parameter, margin, y, smoothing)
                np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-14 * max(1, abs(y * margin)))
            if losses.LOSSES[name] == np.inf and margin != y and not smoothing:
                expected = losses.largest_curvature(name, parameter, margin, y)
                np.testing.assert_allclose(own[3], expected, rtol=1e-12, atol=1e-300)


def test_the_cimported_logarithm_of_a_sum(consumer):
    rng = np.random.default_rng(0)
    for margins in (rng.standard_normal(5), 1e5 * rng.standard_normal(7), np.array([3.0]), np.array([-1e300, 1e300])):
        np.testing.assert_allclose(consumer.logarithm_of_sum(margins), np.logaddexp.reduce(margins), rtol=1e-15)
    for margins in ([np.nan, 0.0], [0.0, np.nan], [np.inf, 0.0]):
        assert np.isnan(consumer.logarithm_of_sum(np.array(margins)))
