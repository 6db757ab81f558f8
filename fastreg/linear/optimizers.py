"""Layer 5, the optimizers of the linear models, as the compiled code needs them."""

from typing import NamedTuple

from fastreg import reference


class Optimizer(NamedTuple):
    """An optimizer and its initial state."""

    direction: tuple  # from the reference; each call sets its own learning rates
    initial_state: tuple
    initial_stamp: tuple | None
    squares: int | None  # which state sums squared gradients


OPTIMIZERS = {
    "sgd": Optimizer(reference.Plain(0.0), (), (1.0, 0.0), None),
    "adagrad": Optimizer(reference.Adagrad(0.0, 1e-10), (0.1,), (0,), 0),
    "ftrl": Optimizer(reference.FTRL(0.0, 1.0), (0.0, 0.0), None, 1),
}
