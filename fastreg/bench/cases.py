"""The measured rules: a direction, a penalty and a mode, as the formula that a user of another library would write.

These lines repeat the formulas of rules.pxd on purpose: a comparison with peers that are generated from the code under
test would prove nothing. Each rule is written once, as assignments in the notation common to Python and C, and
codegen.py translates them for each peer. Each peer is checked against fastreg.reference before it is timed. Terms with
a strength of zero are omitted, and expressions of numbers alone are computed once, as a user would do it.

The asv suite loads this package by its path and combines it with older versions of fastreg. Therefore all modules
except compare.py and report.py import fastreg inside functions only, and import each other relatively.
"""

import ast
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

LR = 1e-12  # so small that repeated steps neither change the weights much nor make them subnormal
STRENGTH = 0.1
MODES = ("subgradient", "decoupled", "truncated", "proximal")
PENALTIES = {"l1": ("l1",), "l2": ("l2",), "elastic_net": ("l1", "l2")}
ARRAYS = ("w", "g", "a", "b", "c")


class Direction(NamedTuple):
    """The move u and the step size eta as formulas of the gradient and the state."""

    states: int  # how many of the state arrays a, b, c it uses
    moves: tuple[str, ...]
    after: tuple[str, ...] = ()  # updates of the state after that of the weight
    # torch's defaults, then derived numbers, in the order of the fields of fastreg.reference's direction.
    settings: Mapping[str, float] = MappingProxyType({})
    eta: str = "eta = lr"


ADAM = {"beta1": 0.9, "one_minus_beta1": 1 - 0.9, "beta2": 0.999, "one_minus_beta2": 1 - 0.999, "eps": 1e-8}
ADAM |= {"bias_correction1": 1 / (1 - 0.9), "bias_correction2": (1 - 0.999) ** -0.5}  # those of the first step
MOMENTS = "a = beta1*a + one_minus_beta1*g", "b = beta2*b + one_minus_beta2*(g*g)"

DIRECTIONS = {
    "Plain": Direction(0, ("u = lr*g",)),
    "Momentum": Direction(
        1, ("a = momentum*a + g", "u = lr*a"), settings={"momentum": 0.9}, eta="eta = lr/(one - momentum)"
    ),
    "Nesterov": Direction(
        1,
        ("a = momentum*a + g", "u = lr*(g + momentum*a)"),
        settings={"momentum": 0.9},
        eta="eta = lr/(one - momentum)",
    ),
    "Adagrad": Direction(1, ("a = a + g*g", "u = eta*g"), settings={"eps": 1e-10}, eta="eta = lr/(sqrt(a) + eps)"),
    "RMSprop": Direction(
        1,
        ("a = alpha*a + one_minus_alpha*(g*g)", "u = eta*g"),
        settings={"alpha": 0.99, "one_minus_alpha": 1 - 0.99, "eps": 1e-8},
        eta="eta = lr/(sqrt(a) + eps)",
    ),
    "Adam": Direction(
        2,
        (*MOMENTS, "u = eta*(a*bias_correction1)"),
        settings=ADAM,
        eta="eta = lr/(sqrt(b)*bias_correction2 + eps)",
    ),
    "AMSGrad": Direction(
        3,
        (*MOMENTS, "c = maximum(c, b)", "u = eta*(a*bias_correction1)"),
        settings=ADAM,
        eta="eta = lr/(sqrt(c)*bias_correction2 + eps)",
    ),
    "Lion": Direction(
        1,
        ("u = lr*sign(beta1*a + one_minus_beta1*g)",),
        ("a = beta2*a + one_minus_beta2*g",),
        settings={"beta1": 0.9, "one_minus_beta1": 1 - 0.9, "beta2": 0.99, "one_minus_beta2": 1 - 0.99},
    ),
    "FTRL": Direction(
        2,
        ("a = a + (g - (sqrt(b + g*g) - sqrt(b))/lr*w)", "b = b + g*g", "d = (beta + sqrt(b))/lr"),
        settings={"beta": 1},
    ),
}
ADAPTIVE = ("Adagrad", "RMSprop", "Adam", "AMSGrad")


def rule_names():
    """The names of all rules as text."""
    plain = ", ".join(case.name for case in CASES if case.direction == "Plain")
    by_modes = {}
    for direction in DIRECTIONS:
        if direction != "Plain":
            modes = tuple(dict.fromkeys(case.mode for case in CASES if case.direction == direction))
            by_modes.setdefault(modes, []).append(f"{direction}:")
    others = "; ".join(f"after {', '.join(names)} with {', '.join(modes)}" for modes, names in by_modes.items())
    return f"one of {plain}, or one of these {others}"


class Case(NamedTuple):
    """One rule. Its name is that of the registry; a direction other than Plain precedes it, followed by a colon."""

    direction: str
    penalty: str
    mode: str

    @classmethod
    def named(cls, name):
        """The case of a name such as "elastic_net-proximal" or "Adam:l2-decoupled"; raises ValueError if unknown."""
        direction, _, rule = name.rpartition(":")
        penalty, _, mode = rule.partition("-")
        case = cls(direction or "Plain", penalty, mode)
        if case not in CASES:
            raise ValueError(f"expected {rule_names()}, got {name!r}")
        return case

    @property
    def name(self):
        """The name in tables and options."""
        return ("" if self.direction == "Plain" else f"{self.direction}:") + f"{self.penalty}-{self.mode}"

    @property
    def arrays(self):
        """The names of its arrays: weights, gradient, state."""
        return ARRAYS[: 2 + DIRECTIONS[self.direction].states]

    def assignments(self):
        """The rule as assignments in order; those to arrays of the case are stored, others are intermediate."""
        move, has = DIRECTIONS[self.direction], PENALTIES[self.penalty]
        terms = [term for strength, term in (("l1", "l1*sign(w)"), ("l2", "l2*w")) if strength in has]
        where = next((i for i, line in enumerate(move.moves) if re.search(r"\beta\b", line)), len(move.moves))
        moves = [*move.moves[:where], move.eta, *move.moves[where:]]
        if self.direction == "FTRL":
            z = "soft(-a, l1)" if "l1" in has else "-a"
            return [*move.moves, f"w = {z}/{'(d + l2)' if 'l2' in has else 'd'}"]
        if self.mode == "subgradient":
            moves = [re.sub(r"\bg\b", "p", line) for line in moves]
            return [f"p = g + {' + '.join(terms)}", *moves, "w = w - u", *move.after]
        if self.mode == "decoupled":
            return [*moves, f"w = w - u - lr*({' + '.join(terms)})", *move.after]
        if self.mode == "truncated":
            x = ["e = eta*l2", "x = w - u - e*w"] if "l2" in has else ["x = w - u"]
            return [*moves, *x, *(["t = eta*l1", "w = soft(x, t)"] if "l1" in has else ["w = x"])]
        shrink = ["s = one/(one + eta*l2)"] if "l2" in has else []
        threshold = ["t = eta*l1"] if "l1" in has else []
        x = "soft(w - u, t)" if threshold else "(w - u)"
        return [*moves, *threshold, *shrink, f"w = {x}{'*s' if shrink else ''}"]

    def resolved(self, dtype, lr):
        """The assignments as (target, expression) pairs, and the numbers in them.

        An expression of numbers alone is evaluated and becomes a number.
        """
        given = {"lr": lr, "l1": STRENGTH, "l2": STRENGTH, "one": 1, **DIRECTIONS[self.direction].settings}
        numbers = {name: np.dtype(dtype).type(x) for name, x in given.items()}
        lines = []
        for target, expression in (line.split(" = ") for line in self.assignments()):
            if target not in ARRAYS and names(expression) <= numbers.keys():
                numbers[target] = eval(expression, {}, numbers)
            else:
                lines.append((target, expression))
        used = set().union(*(names(expression) for _, expression in lines))
        needed = used - {target for target, _ in lines if target not in ARRAYS}
        return lines, {name: x for name, x in numbers.items() if name in needed}


def modes_of(direction):
    """The modes that are defined for a direction."""
    if direction == "Lion":
        return ("decoupled",)
    if direction == "FTRL":
        return ("proximal",)
    return tuple(mode for mode in MODES if mode != "truncated" or direction not in ADAPTIVE)


CASES = [Case(d, p, m) for d in DIRECTIONS for p in PENALTIES for m in modes_of(d)]


def names(expression):
    """The variables in an expression."""
    tree = ast.parse(expression)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def inlined(lines, every=False):
    """The assignments with intermediates inlined: those that are used once, or every intermediate."""
    lines = list(lines)
    for i in reversed(range(len(lines))):
        target, expression = lines[i]
        if target in ARRAYS:
            continue
        uses = [len(re.findall(rf"\b{target}\b", other)) for _, other in lines[i + 1 :]]
        if every or sum(uses) == 1:
            pattern = re.compile(rf"\b{target}\b")
            rest = [(name, pattern.sub(f"({expression})", other)) for name, other in lines[i + 1 :]]
            lines[i:] = rest
    return lines


def workload(case, size, dtype):
    """Arrays by name: normal weights and gradients, positive state. Writing them faults in their pages."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal(min(size, 1 << 18) + 17)  # repeated, because drawing 10⁸ numbers would take too long
    arrays = {}
    for i, name in enumerate(case.arrays):
        source = block[i : len(block) - 17 + i].astype(dtype)  # no array is a copy of another
        arrays[name] = np.empty(size, dtype)
        for start in range(0, size, len(source)):
            part = arrays[name][start : start + len(source)]
            part[...] = source[: len(part)]
        if i > 1:
            np.abs(arrays[name], out=arrays[name])
            arrays[name] += np.dtype(dtype).type(0.1)
    return arrays
