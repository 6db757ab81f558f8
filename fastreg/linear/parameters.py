"""Layer 5, the parameters of the two estimators: their checks, and the learning rates."""

from math import inf
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from fastreg.linear.optimizers import OPTIMIZERS
from fastreg.reference.losses import LOG_LINK

MAX_FLOAT = float(np.finfo(float).max)
ALPHAS = 1e-300, 1e300  # within which learning rates follow the strength for features of size 1


class Parameters(BaseEstimator):
    """The parameters that both estimators have; `__init__` of a subclass sets them."""

    _losses: tuple[str, ...]
    _default_schedule: str  # of optimizer="sgd" with learning_rate="auto"

    def _check_parameters(self):
        """Raise a ValueError that names the parameter, before anything is trained."""
        self._check_choice("loss", self._losses)
        self._check_choice("optimizer", tuple(OPTIMIZERS))
        for name in ("fit_intercept", "positive", "shuffle", "warm_start", "polish"):
            x = getattr(self, name)
            if not isinstance(x, bool | np.bool_):
                raise ValueError(f"{name}: expected True or False, got {x!r}")
        if self.group is not None:
            self._check_choice("group", ("features",), "None or ")
        if not callable(self.learning_rate):
            self._check_choice("learning_rate", ("auto", "constant", "invscaling", "optimal"))
        self._check_strength()
        self._check_number("power_t", 0, inf)
        self._check_loss_parameters()
        for name in ("eta0", "tol"):
            if getattr(self, name) is not None:
                self._check_number(name, 0, inf)
        for name, low in (("max_iter", 1), ("n_iter_no_change", 1), ("verbose", 0)):
            x = getattr(self, name, low)  # an estimator can lack one
            if not isinstance(x, Integral) or (low and isinstance(x, bool)) or x < low:
                raise ValueError(f"{name}: expected an integer of at least {low}, got {x!r}")
        try:
            check_random_state(self.random_state)
        except ValueError:
            raise ValueError(
                f"random_state: expected an integer, a RandomState or None, got {self.random_state!r}"
            ) from None
        if self.eta0 is not None and (self.eta0 == 0 or 1 / float(self.eta0) > MAX_FLOAT):
            raise ValueError(f"eta0: expected a positive number that has a finite inverse, got {self.eta0!r}")
        if self.group is not None and self.optimizer == "adagrad":
            raise ValueError(
                "group: expected None with optimizer='adagrad', since the weights of a feature differ in step size, so"
                f" that their pending penalty has no closed form, got {self.group!r}"
            )
        if self._schedule() != "constant" and self.optimizer != "sgd":
            raise ValueError(
                f"learning_rate: expected 'auto' or 'constant' with optimizer={self.optimizer!r}, which adapts its step"
                f" sizes, got {self.learning_rate!r}"
            )

    def _check_strength(self):
        self._check_number("alpha", 0, inf)
        self._check_number("l1_ratio", 0, 1)
        if self._schedule() == "optimal" and self.alpha == 0:
            raise ValueError("alpha: expected a positive number with learning_rate='optimal', got 0")

    def _strength(self):
        """The strength of the penalty, and the share of L1."""
        return self.alpha, self.l1_ratio

    def _check_loss_parameters(self):
        """The regressor has some."""

    def _check_choice(self, name, known, others=""):
        x = getattr(self, name)
        if not isinstance(x, str) or x not in known:
            raise ValueError(f"{name}: expected {others}one of {', '.join(map(repr, known))}, got {x!r}")

    def _check_number(self, name, low, high):
        x = getattr(self, name)
        if not isinstance(x, Real) or isinstance(x, bool) or not low <= x <= high or x > MAX_FLOAT:
            bound = f" to {high:g}" if high < inf else ""
            raise ValueError(f"{name}: expected a finite number from {low:g}{bound}, got {x!r}")

    def _is_auto(self):
        return isinstance(self.learning_rate, str) and self.learning_rate == "auto"

    def _schedule(self):
        """The name of the schedule, or the callable given instead."""
        if self._is_auto():
            return self._default_schedule if self.optimizer == "sgd" else "constant"
        return self.learning_rate

    def _has_own_rates(self):
        """Whether the default learning rates are used, which follow the sizes of features and targets."""
        return self.eta0 is None and (self.optimizer != "sgd" or self._is_auto())

    def _rates(self, steps, squares, stretch):
        """The learning rates of weights and intercept after these numbers of steps: arrays, or a number for all.

        `squares` are those of the size of features; default rates are those of features of size 1. The intercept is not
        penalised: under a strong penalty its rates fall more slowly. None means those of the weights. The first rates
        are multiplied by `stretch`; 1/(alpha·t), which "optimal" ones become in the long run, is not.
        """
        schedule = self._schedule()
        if callable(schedule):
            rates = [schedule(int(t)) for t in steps.tolist()]
            if not all(isinstance(x, Real) and 0 <= x <= MAX_FLOAT for x in rates):
                raise ValueError(
                    "learning_rate: expected a callable that returns finite, non-negative numbers, got others"
                )
            return np.array(rates, float), None
        if schedule == "optimal":
            with np.errstate(over="ignore"):
                alpha = np.clip(self._strength()[0] / squares, *ALPHAS)
            weight = 1 / np.sqrt(np.sqrt(alpha))  # a typical weight, in L. Bottou's heuristic
            first = weight / np.maximum(1.0, self._typical_slope(weight)) if self.eta0 is None else self.eta0
            first = first * stretch
            rates = 1 / (alpha * steps + 1 / first)
            own = np.maximum(rates, first / np.sqrt(steps + 1.0))
        else:
            first = 0.01 * stretch if self.eta0 is None else self.eta0
            rates = own = first / (steps + 1.0) ** self.power_t if schedule == "invscaling" else first
        return rates / squares, own if self._has_own_rates() and self.loss not in LOG_LINK else None

    def _typical_slope(self, weight):
        """The absolute slope of the loss at a prediction that is wrong by `weight`."""
        typical = {"squared_hinge": 2 * (1 + weight), "modified_huber": 4.0, "squared_error": weight}
        if self.loss in LOG_LINK:
            return np.exp(np.minimum(weight, 100.0))
        return self.epsilon if self.loss == "huber" else typical.get(self.loss, 1.0)
