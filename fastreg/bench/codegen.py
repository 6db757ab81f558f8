"""Code generation: the formulas of cases.py as Python source for `exec` and as expressions for numexpr.

The code is close to what an experienced user would write: intermediates that are used once are inlined, and the last
operation writes into the array. numexpr gets one expression per array, because it eliminates common subexpressions.
"""

import ast
import re
from typing import ClassVar

from .cases import ARRAYS, inlined, names

# -- Python over scalars, for numba -----------------------------------------------------------------------------------

SCALARS = {
    "sign": "def sign(x): return np.copysign(type(x)(1), x) if x != 0 else type(x)(0)",
    "soft": "def soft(x, t): return x - (t if x > t else (-t if x < -t else x))",
    "maximum": "def maximum(x, y): return x if x > y else y",
}


def scalar_loop(case):
    """Source of update(arrays, numbers): a loop over coordinates."""
    lines, numbers = case.resolved("float64", 0.1)
    body = [f"{x} = {x.upper()}[i]" for x in case.arrays]
    body += [f"{target} = {expression}" for target, expression in lines]
    body += [f"{x.upper()}[i] = {x}" for x in case.arrays if x != "g"]
    head = ", ".join([*(x.upper() for x in case.arrays), *numbers])
    return f"def update({head}):\n    for i in range(len(W)):\n        " + "\n        ".join(body)


# -- Python over arrays: NumPy, and torch or jax.numpy under the name np -----------------------------------------------

ARRAY_FUNCTIONS = """
def sign(x): return np.sign(x)
def sqrt(x): return np.sqrt(x)
def maximum(x, y): return np.maximum(x, y)
def soft(x, t): return x - np.clip(x, -t, t)
"""


def expressions(case):
    """Source of update(): NumPy expressions of globals; the last operation writes into the array."""
    body = []
    for target, expression in inlined(case.resolved("float64", 0.1)[0]):
        body.append(with_out(target, expression) if target in ARRAYS else f"{target} = {expression}")
    return ARRAY_FUNCTIONS + "def update():\n    " + "\n    ".join(body)


UFUNCS = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}


def with_out(target, expression):
    """A statement for an expression; its last operation gets `out=target`."""
    node = ast.parse(expression, mode="eval").body
    if isinstance(node, ast.BinOp):
        return f"np.{UFUNCS[type(node.op)]}({ast.unparse(node.left)}, {ast.unparse(node.right)}, out={target})"
    if isinstance(node, ast.Call) and node.func.id == "soft":
        x, t = map(ast.unparse, node.args)
        return f"x = {x}; np.subtract(x, np.clip(x, -{t}, {t}), out={target})"
    return f"{target}[...] = {expression}"


def functional(case):
    """Source of update(arrays, g, numbers) for jax, arrays without g: it returns new arrays."""
    lines, numbers = case.resolved("float64", 0.1)
    donated = ", ".join(x for x in case.arrays if x != "g")
    body = [
        f"{donated}, = arrays",
        *(f"{target} = {expression}" for target, expression in lines),
        f"return [{donated}]",
    ]
    return ARRAY_FUNCTIONS + f"def update(arrays, g, {', '.join(numbers)}):\n    " + "\n    ".join(body)


def in_place(case):
    """Source of update(arrays, numbers) for torch: it copies results into the arrays."""
    lines, numbers = case.resolved("float64", 0.1)
    body = [f"{x}.copy_({e})" if x in ARRAYS else f"{x} = {e}" for x, e in lines]
    return ARRAY_FUNCTIONS + f"def update({', '.join([*case.arrays, *numbers])}):\n    " + "\n    ".join(body)


# -- NumPy with preallocated temporaries ------------------------------------------------------------------------------


class Ufuncs:
    """Translates assignments into calls of ufuncs with `out=`, and counts the buffers."""

    def __init__(self, numbers):
        self.numbers, self.lines, self.free, self.count = set(numbers), [], [], 0
        self.kept = {}  # intermediates that are used more than once: name → buffer

    def buffer(self):
        """A free buffer, or a new one."""
        if self.free:
            return self.free.pop()
        self.count += 1
        return f"t{self.count - 1}"

    def release(self, *operands):
        """Mark the buffers among the operands as free."""
        kept = set(self.kept.values())
        self.free += [x for x in operands if is_buffer(x) and x not in kept | set(self.free)]

    def call(self, ufunc, *operands, out=None):
        """Emit a call of a ufunc; returns the name of its output."""
        self.release(*operands)
        out = out or self.buffer()
        if out in self.free:
            self.free.remove(out)
        self.lines.append(f"np.{ufunc}({', '.join(operands)}, out={out})")
        return out

    def operand(self, node, out=None):
        """Emit the calls that compute a node; returns the name of its value."""
        if isinstance(node, ast.Name) or names(ast.unparse(node)) <= self.numbers:
            text = ast.unparse(node)
            return self.kept.get(text, text)
        if isinstance(node, ast.BinOp):
            return self.call(UFUNCS[type(node.op)], self.operand(node.left), self.operand(node.right), out=out)
        if isinstance(node, ast.UnaryOp):
            return self.call("negative", self.operand(node.operand), out=out)
        if node.func.id == "soft":
            x, t = map(self.operand, node.args)
            low = self.call("negative", t, out=self.buffer()) if is_buffer(t) else f"-{t}"
            kept = self.kept
            self.kept = kept | {"soft x": x, "soft low": low}  # both are needed until the last line
            c = self.call("minimum", x, t)
            c = self.call("maximum", c, low, out=c)
            self.kept = kept
            self.release(low)
            return self.call("subtract", x, c, out=out)
        return self.call(node.func.id, *map(self.operand, node.args), out=out)

    def assign(self, target, expression):
        """Emit an assignment."""
        result = self.operand(ast.parse(expression, mode="eval").body, target if target in ARRAYS else None)
        if target not in ARRAYS:
            self.kept[target] = result
        elif result != target:
            self.lines.append(f"np.copyto({target}, {result})")


def is_buffer(operand):
    """Whether an operand is the name of a buffer."""
    return re.fullmatch(r"t\d+", operand)


def ufuncs(case):
    """Source of update(): calls of ufuncs on globals and buffers t0, t1, ...; and the number of buffers."""
    lines, numbers = case.resolved("float64", 0.1)
    emitter = Ufuncs(numbers)
    for target, expression in inlined(lines):
        emitter.assign(target, expression)
    return "def update():\n    " + "\n    ".join(emitter.lines), emitter.count


# -- numexpr ----------------------------------------------------------------------------------------------------------


class Expand(ast.NodeTransformer):
    """Replaces functions that numexpr does not have; it has sign, minimum and maximum for float64 only."""

    TEMPLATES: ClassVar = {
        "float64": {"soft": "{0} - minimum(maximum({0}, -{1}), {1})"},
        "float32": {
            "sign": "where({0} > 0, one, where({0} < 0, -one, one - one))",
            "soft": "{0} - where({0} < {1}, where(-{1} < {0}, {0}, -{1}), {1})",
            "maximum": "where({0} > {1}, {0}, {1})",
        },
    }

    def __init__(self, dtype):
        self.templates = self.TEMPLATES[str(dtype)]

    def visit_Call(self, node):
        self.generic_visit(node)
        if node.func.id not in self.templates:
            return node
        arguments = (f"({ast.unparse(argument)})" for argument in node.args)
        return ast.parse(self.templates[node.func.id].format(*arguments), mode="eval").body


def numexprs(case, dtype):
    """Yields (array, expression, names in the expression) for each array that changes, in order."""
    for target, expression in inlined(case.resolved(dtype, 0.1)[0], every=True):
        expanded = ast.unparse(Expand(dtype).visit(ast.parse(expression, mode="eval")))
        yield target, expanded, sorted(names(expanded))
