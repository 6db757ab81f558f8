"""The directive `pxd`: the functions of a header for cimport, with signatures and docstrings, in their order.

    ```{pxd} rules
    ```

Structs and fused types have comments rather than docstrings: their header is shown as it stands.
"""

import inspect
import re
from pathlib import Path

from docutils.parsers.rst import Directive
from public import escaped, parse

import fastreg

FUNCTION = re.compile(r'^cdef inline ([^()]*?)(\w+)\(([^)]*)\) noexcept nogil:\n(?:    """(.*?)""")?', re.M | re.S)


def functions(header):
    """Tuples (name, signature, docstring) of a header of the package, without its .pxd."""
    text = (Path(fastreg.__file__).parent / f"{header}.pxd").read_text(encoding="utf-8")
    for result, name, arguments, doc in FUNCTION.findall(text):
        arguments = " ".join(arguments.replace("\\\n", " ").split())
        yield name, f"{result}{name}({arguments})", inspect.cleandoc(doc)


class Pxd(Directive):
    """Expands to a description of each function."""

    required_arguments = 1

    def run(self):
        lines = []
        for name, signature, doc in functions(self.arguments[0]):
            lines += [f".. _{self.arguments[0]}-{name}:", "", f".. describe:: {signature}", ""]
            lines += [f"   {escaped(line)}" for line in doc.splitlines()] + [""]
        return parse(self, lines)


def setup(app):
    app.add_directive("pxd", Pxd)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
