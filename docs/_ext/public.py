"""The directive `public`: all public names of a module, in the order of its `__all__`, with their docstrings.

    ```{public} fastreg
    :names: SGD Adam
    ```

`names` selects some of them. A name that is added to `__all__` appears by itself; a module with several pages must name
it on one of them, or tests/docs/ fails.
"""

import importlib

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from names import entries


class Public(Directive):
    """Expands to the directives of autodoc for the names of a module."""

    required_arguments = 1
    option_spec = {"names": directives.unchanged}

    def run(self):
        module = importlib.import_module(self.arguments[0])
        names = self.options.get("names", "").split()
        lines = []
        for name, members in entries(module):
            if names and name not in names:
                continue
            kind = "autofunction" if members is None else "autoclass"
            lines += [f".. {kind}:: {module.__name__}.{name}"]
            lines += [f"   :members: {', '.join(members)}", "   :member-order: bysource"] if members else []
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
