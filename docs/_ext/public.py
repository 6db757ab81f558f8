"""The directive `public`: the public names of a module as a table, then each with its docstring.

    ```{public} fastreg
    :names: SGD Adam
    ```

`names` selects some of them, in this order; without it, the order is that of `__all__`, and a name that is added there
appears by itself. With `table`, there is only the table, with signatures, of all that a package without `__all__`
defines in its modules.
"""

import importlib
import inspect
import re

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from names import entries
from sphinx.util.nodes import make_refnode


class Public(Directive):
    """Expands to a table and to the directives of autodoc for the names of a module."""

    required_arguments = 1
    option_spec = {"names": directives.unchanged, "table": directives.flag}

    def run(self):
        module = importlib.import_module(self.arguments[0])
        if "table" in self.options:
            return parse(self, table((signature(name, x), escaped(summary(x))) for name, x in sorted(own(module))))
        found = dict(entries(module))
        names = self.options.get("names", " ".join(found)).split()
        lines = table((f":py:obj:`~{module.__name__}.{name}`", summary(getattr(module, name))) for name in names)
        for name in names:
            members = found[name]
            lines += [f".. {'autofunction' if members is None else 'autoclass'}:: {module.__name__}.{name}"]
            lines += [f"   :members: {', '.join(members)}", "   :member-order: bysource"] if members else []
            lines += [""]
        return parse(self, lines)


def own(module):
    """Pairs (name, object) for the functions and classes that a package defines in its modules."""
    for name, x in vars(module).items():
        if not name.startswith("_") and getattr(x, "__module__", "").startswith(f"{module.__name__}."):
            yield name, x


def signature(name, x):
    """A call of a function or class, as code."""
    return f"``{name}({', '.join(inspect.signature(x).parameters)})``"


def summary(x):
    """The first line of a docstring."""
    return inspect.getdoc(x).splitlines()[0]


def table(rows):
    """The lines of a table of names and summaries."""
    lines = [".. list-table::", "   :widths: auto", "   :class: names", ""]
    for name, text in rows:
        lines += [f"   * - {name}", f"     - {text}"]
    return [*lines, ""]


def escaped(line):
    """A line of plain text as reStructuredText; `code` stays code."""
    return re.sub(r"`([^`]+)`", r"``\1``", re.sub(r"([*|\\_])(?![^`]*`)", r"\\\1", line))


def parse(directive, lines):
    """The nodes of some lines of reStructuredText."""
    body = "\n".join(["```{eval-rst}", *lines, "```"]).splitlines()
    node = nodes.container()
    directive.state.nested_parse(StringList(body, source=directive.state_machine.document.current_source), 0, node)
    return node.children


def adapt_signature(app, what, name, x, options, arguments, result):
    """No signature for a class that is constructed only through its subclasses; inf as people write it."""
    if what == "class" and "use one of the subclasses" in (x.__doc__ or ""):
        return "", result
    text = getattr(x, "__text_signature__", None) or ""
    return (text.replace("1e999", "inf"), result) if "1e999" in text else None


def find_in_bases(app, env, node, content):
    """The method that a docstring means by its bare name, if it is described at a base of the class."""
    module, kind = node.get("py:module"), node.get("py:class")
    if node.get("reftype") != "meth" or not kind:
        return None
    domain, target = env.get_domain("py"), node["reftarget"].rpartition(".")[2]
    for base in getattr(importlib.import_module(module), kind).__mro__[1:]:
        name = f"{module}.{base.__name__}.{target}"
        if name in domain.objects:
            return make_refnode(app.builder, node["refdoc"], *domain.objects[name][:2], content, name)
    return None


def setup(app):
    app.add_directive("public", Public)
    app.connect("missing-reference", find_in_bases)
    app.connect("autodoc-process-signature", adapt_signature, priority=400)  # before numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
