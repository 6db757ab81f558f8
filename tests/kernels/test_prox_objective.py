"""Each proximal step minimises its objective ½(x − v)²/eta + penalty(x), for every direction.

The penalty is f·(l1·|x| + l2/2·x²), with a finite gamma MCP in the place of f·l1·|x|.

v = w − u and eta are computed here from the published formulas; the minimiser is found by a search, not by a formula.
"""

import numpy as np
import pytest
from optimizer_cases import DIRECTIONS, make
from scipy.optimize import minimize_scalar

import fastreg

PROXIMAL = [name for name, case in DIRECTIONS.items() if "proximal" in case.modes and name != "FTRL"]
LR = 0.1


class History:
    """The move and the step size of one coordinate, from all of its gradients, in closed form."""

    def __init__(self, name, options):
        self.name, self.o, self.gradients = name, options, []

    def move(self, g):
        self.gradients.append(g)
        gs, o, t = np.array(self.gradients), self.o, len(self.gradients)
        ages = np.arange(t)[::-1]
        if self.name == "Plain":
            return LR * g, LR
        if self.name == "Momentum":
            damped = np.where(np.arange(t) == 0, 1, 1 - o["dampening"])  # the first gradient is not dampened
            return LR * (o["momentum"] ** ages * damped * gs).sum(), LR * (1 - o["dampening"]) / (1 - o["momentum"])
        if self.name == "Nesterov":
            buffer = (o["momentum"] ** ages * gs).sum()
            return LR * (g + o["momentum"] * buffer), LR / (1 - o["momentum"])
        if self.name == "Adagrad":
            eta = LR / (np.sqrt(o["initial_accumulator_value"] + (gs**2).sum()) + o["eps"])
            return eta * g, eta
        if self.name == "RMSprop":
            eta = LR / (np.sqrt((1 - o["alpha"]) * (o["alpha"] ** ages * gs**2).sum()) + o["eps"])
            return eta * g, eta
        b1, b2 = o["betas"]
        mean = (1 - b1) * (b1**ages * gs).sum() / (1 - b1**t)
        squares = [(1 - b2) * (b2 ** np.arange(s)[::-1] * gs[:s] ** 2).sum() for s in range(1, t + 1)]
        square = max(squares) if self.name == "AMSGrad" else squares[-1]
        eta = LR / (np.sqrt(square / (1 - b2**t)) + o["eps"])
        return eta * mean, eta


def penalty(x, l1, l2, gamma):
    size, ridge = abs(x), l2 / 2 * x * x
    if l1 == 0:
        return ridge
    return ridge + (0.5 * gamma * l1**2 if size > gamma * l1 else l1 * size - size**2 / (2 * gamma))


def minimiser(smooth, scale, l1, l2, gamma):
    """The best of 0, where the penalty has its kink, and of searches on either side of where MCP becomes constant."""

    def objective(x):
        return smooth(x) + penalty(x, l1, l2, gamma)

    far = 2 * scale + 1e-6
    end = min(gamma * l1 if l1 else 0.0, far)
    found = [
        minimize_scalar(objective, bounds=b, method="bounded", options={"xatol": 1e-12}).x
        for b in ((0, end), (end, far), (-end, 0), (-far, -end))
        if b[0] < b[1]
    ]
    return min([0.0, *found], key=objective), objective


def test_every_direction_with_a_proximal_mode_is_tested():
    assert PROXIMAL == ["Plain", "Momentum", "Nesterov", "Adagrad", "RMSprop", "Adam", "AMSGrad"]


@pytest.mark.parametrize("name", PROXIMAL)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.4), (0.3, 0.2), (3.0, 5.0)])
@pytest.mark.parametrize("gamma", [np.inf, 0.5, 0.03])  # steps are smaller and larger than the last ones
@pytest.mark.parametrize("weighted", [False, True], ids=["", "factors"])
def test_a_step_gives_the_minimiser_of_its_objective(name, l1, l2, gamma, weighted):
    rng = np.random.default_rng(3)
    n = 12
    w, f = rng.standard_normal(n), np.array([0, 0.5, 1, 4] * 3) if weighted else np.ones(n)
    histories = [History(name, DIRECTIONS[name].options) for _ in range(n)]
    options = {"l1": l1, "l2": l2, "gamma": gamma, "penalty_factor": f if weighted else None}
    optimizer = make(name, w, LR, "proximal", **options)
    zeros = 0
    for _ in range(8):
        before, g = w.copy(), rng.standard_normal(n)
        optimizer.step(g)
        for i in range(n):
            u, eta = histories[i].move(g[i])
            v = before[i] - u
            best, objective = minimiser(
                lambda x, v=v, eta=eta: 0.5 * (x - v) ** 2 / eta, abs(v), l1 * f[i], l2 * f[i], gamma
            )
            assert objective(w[i]) <= objective(best) * (1 + 1e-12) + 1e-14
            if gamma == np.inf:
                assert w[i] == pytest.approx(best, abs=1e-5)
                assert (w[i] == 0) == (abs(v) <= eta * l1 * f[i])
            zeros += w[i] == 0
    assert zeros > 0 or l1 < 1 or gamma < 0.1


@pytest.mark.parametrize(("l1", "l2"), [(0.7, 0.0), (0.3, 0.2), (1.5, 0.5)])
@pytest.mark.parametrize("gamma", [np.inf, 5.0, 0.5, 0.03])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "factors"])
def test_ftrl_gives_the_minimiser_of_its_objective(l1, l2, gamma, weighted):
    """z·x + (beta + √n)/(2·lr)·x² + penalty(x), with the z and n that it has after the step."""
    rng = np.random.default_rng(5)
    w, f = rng.standard_normal(12), np.array([0, 0.5, 1, 4] * 3) if weighted else np.ones(12)
    options = {"l1": l1, "l2": l2, "gamma": gamma, "penalty_factor": f if weighted else None}
    optimizer = make("FTRL", w, LR, **options)
    for _ in range(8):
        optimizer.step(rng.standard_normal(12))
        z, n = optimizer.state["0"].values()
        for i in range(12):
            curvature = (DIRECTIONS["FTRL"].options["beta"] + np.sqrt(n[i])) / LR
            best, objective = minimiser(
                lambda x, z=z[i], c=curvature: z * x + c / 2 * x * x,
                abs(z[i]) / curvature, l1 * f[i], l2 * f[i], gamma,
            )  # fmt: skip
            assert objective(w[i]) <= objective(best) + 1e-12 * abs(objective(best)) + 1e-14


@pytest.mark.parametrize("gamma", [np.inf, 5.0, 0.1])  # the last is below the first steps, which are 0.5
def test_ftrl_starts_at_the_given_weights(gamma):
    w = np.array([0.0, 0.2, -0.4, 3.0])
    before = w.copy()
    fastreg.FTRL(w, 0.5, beta=1.0, l1=0.3, l2=0.1, gamma=gamma).step(np.zeros(4))
    np.testing.assert_allclose(w, before, rtol=1e-14)


@pytest.mark.parametrize("name", [name for name, case in DIRECTIONS.items() if "truncated" in case.modes])
def test_truncation_uses_the_step_size_of_the_direction(name):
    rng = np.random.default_rng(4)
    w, l1, l2, theta = rng.standard_normal(12), 0.5, 0.3, 0.8
    histories = [History(name, DIRECTIONS[name].options) for _ in range(12)]
    optimizer = make(name, w, LR, "truncated", l1=l1, l2=l2, theta=theta)
    for _ in range(8):
        before, g = w.copy(), rng.standard_normal(12)
        optimizer.step(g)
        for i in range(12):
            u, eta = histories[i].move(g[i])
            x = before[i] - u - eta * l2 * before[i]
            expected = np.sign(x) * max(abs(x) - eta * l1, 0) if abs(x) <= theta else x
            assert w[i] == pytest.approx(expected, abs=1e-12)
