"""Follows the recipes of fastreg/README.md on a copy of the sources: applies the patches, builds, and compares bits.

`python tests/recipes/follow.py FOLDER` leaves the copy in FOLDER. The build has UBSan and no vectorisation, which takes
a third of the time. The bits are the same.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
LIMITS = {"direction": 9, "penalty": 8}  # edits of the package

CHECK = """
import warnings
import numpy as np
import fastreg
from fastreg import reference

warnings.simplefilter("ignore", fastreg.NoExactZerosWarning)
from optimizer_cases import Twin, make

class Smooth(fastreg.SGD):
    _delta = 0.5

class SmoothAdam(fastreg.Adam):
    _delta = 0.5

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for mode in ("subgradient", "proximal"):
        for factor in (None, rng.uniform(0, 2, 1000).astype(dtype)):
            for kind, name, lr in ((Smooth, "Plain", 0.5), (Smooth, "Plain", 4.0), (SmoothAdam, "Adam", 0.1)):
                w = rng.standard_normal(1000).astype(dtype)
                twin = Twin(name, w, mode, lr=lr, factor=factor, l1=0.3, l2=0.1)
                twin.penalty = reference.Huber(0.3, 0.1, 0.5)
                options = {"betas": (0.9, 0.99)} if name == "Adam" else {}
                optimizer = kind(w, lr, l1=0.3, l2=0.1, mode=mode, penalty_factor=factor, **options)
                for _ in range(3):
                    g = rng.standard_normal(1000).astype(dtype)
                    optimizer.step(g)
                    twin.step(g)
                    assert np.array_equal(w, twin.w), (kind, mode, dtype)
                assert optimizer.penalty() == reference.penalty_sum(twin.penalty, w, factor)

p, grid = reference.Huber(0.7, 0.2, 0.5), np.linspace(-4, 4, 80001)
for eta in (0.1, 1.0, 2.9, 3.5, 10.0):
    for x in np.linspace(-3, 3, 61):
        objective = (grid - x) ** 2 / (2 * eta) + p.value(grid)
        v = p.prox(np.array([x]), np.float64(eta))
        assert ((v - x) ** 2 / (2 * eta) + p.value(v))[0] <= objective.min() + 1e-7, (eta, x)
print("the penalty has the bits of its reference, and its proximal operator minimises")
"""


def edits(patch):
    """The edits of the package in a patch: its hunks, those of tests apart."""
    files = re.split(r"^diff --git ", patch, flags=re.MULTILINE)[1:]
    return sum(len(re.findall(r"^@@", file, re.MULTILINE)) for file in files if file.startswith("a/fastreg/"))


def main(folder):
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=SOURCE, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((SOURCE / name).read_bytes())
    for name, limit in LIMITS.items():
        patch = (HERE / f"{name}.patch").read_text(encoding="utf-8")
        print(f"{name}: {edits(patch)} edits, at most {limit}", flush=True)
        if edits(patch) > limit:
            sys.exit(1)
        subprocess.run(
            ["git", "apply", "-C1", "--unsafe-paths", f"--directory={folder}", "-"],
            cwd="/",
            input=patch,
            text=True,
            check=True,
        )
    environment = os.environ | {
        "FASTREG_SANITIZE": "undefined",
        "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "tests")]),
    }
    run = [sys.executable, "-W", "error"]
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run([*run, "-c", CHECK], cwd=folder, env=environment, check=True)
    tests = ["tests/test_registry_complete.py", "tests/kernels/test_directions_bits.py"]
    subprocess.run(
        [*run, "-m", "pytest", "-q", *tests, "-k", "Adan or registry"], cwd=folder, env=environment, check=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
