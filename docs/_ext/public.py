"""The directive `public`: all public names of a module, in the order of its `__all__`, with their docstrings.

    ```{public} fastreg
    :only: functions
    ```

A name that is added to `__all__` appears by itself. tests/docs/ compares the built pages with `entries`.
"""

import importlib
import inspect

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList

MODULES = ("fastreg", "fastreg.linear", "fastreg.torch", "fastreg.convert")  # and fastreg.optimizers, in fastreg


def public_names(module):
    """The names in `__all__` that are not modules: functions and classes."""
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def members(kind, documented=()):
    """The public members of a class that fastreg defines, inherited ones too, but not those of documented bases."""
    names = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("fastreg") or (base is not kind and base in documented):
            continue
        names |= {name: base for name, x in vars(base).items() if not name.startswith("_") and is_own(x)}
    inherited = {name for base in documented if base is not kind and issubclass(kind, base) for name in dir(base)}
    return [name for name, base in names.items() if base is kind or name not in inherited]


def is_own(x):
    """Whether a member is fastreg's: scikit-learn puts its set_..._request methods into each class."""
    return not type(x).__module__.startswith("sklearn")


def entries(module):
    """Pairs (name, members) for the public names of a module; members is None for a function."""
    objects = [(name, getattr(module, name)) for name in public_names(module)]
    classes = [x for _, x in objects if isinstance(x, type)]
    return [(name, members(x, classes) if isinstance(x, type) else None) for name, x in objects]


class Public(Directive):
    """Expands to the directives of autodoc for the names of a module."""

    required_arguments = 1
    option_spec = {"names": directives.unchanged, "but": directives.unchanged}

    def run(self):
        module = importlib.import_module(self.arguments[0])
        names, but = (self.options.get(key, "").split() for key in ("names", "but"))
        lines = []
        for name, its_members in entries(module):
            if name in but or (names and name not in names):
                continue
            kind = "autofunction" if its_members is None else "autoclass"
            lines += [f".. {kind}:: {module.__name__}.{name}"]
            lines += [f"   :members: {', '.join(its_members)}", "   :member-order: bysource"] if its_members else []
            lines += [""]
        return parse(self, lines)


def parse(directive, lines):
    """The nodes of some lines of reStructuredText."""
    body = "\n".join(["```{eval-rst}", *lines, "```"]).splitlines()
    node = nodes.container()
    directive.state.nested_parse(StringList(body, source=directive.state_machine.document.current_source), 0, node)
    return node.children


def setup(app):
    app.add_directive("public", Public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
