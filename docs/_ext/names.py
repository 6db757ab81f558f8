"""The public names of fastreg, with the members of classes: what the reference lists, and tests/docs/ checks."""

import inspect
import re

MODULES = ("fastreg", "fastreg.linear", "fastreg.path", "fastreg.torch", "fastreg.convert")
# Members that are not fastreg's own, or have no meaning apart from their class: scikit-learn's set_..._request methods,
# settings that stand in the groups, fields of named tuples.
OTHER_KINDS = {"RequestMethod", "GroupSetting", "_tuplegetter"}
CALLED_BY_TORCH = {"forward", "extra_repr"}


def public_names(module):
    """The names in `__all__` that are not modules: functions and classes."""
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def entries(module):
    """Pairs (name, members) for the public names of a module; members is None for a function."""
    objects = [(name, getattr(module, name)) for name in public_names(module)]
    classes = [x for _, x in objects if isinstance(x, type)]
    return [(name, members(x, classes) if isinstance(x, type) else None) for name, x in objects]


def members(kind, documented=()):
    """The public members of a class, also of bases in fastreg, but not those that it shares with a documented base."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("fastreg")]
    others = [base for base in bases[1:] if base in documented]
    found = [name for base in reversed(bases) for name, x in vars(base).items() if is_documented(name, x)]

    def own(base, name):  # torch wraps `step` of a class when it is first constructed
        return inspect.unwrap(inspect.getattr_static(base, name, None))

    return [name for name in dict.fromkeys(found) if not any(own(kind, name) is own(base, name) for base in others)]


def is_documented(name, x):
    """Whether a member belongs into the reference: a method or a property, no default value of a field."""
    if name.startswith("_") or type(x).__name__ in OTHER_KINDS:
        return False
    return hasattr(type(x), "__get__") and bool(inspect.getdoc(x))


def without_examples(module):
    """The public functions, classes and methods without an example.

    A method is in an example if its own docstring has one, or if it is called in that of a class that has it.
    """
    missing, pairs = [], entries(module)
    classes = [(name, getattr(module, name)) for name, its_members in pairs if its_members is not None]
    for name, its_members in pairs:
        x = getattr(module, name)
        missing += [name] * (not examples(x))
        for member in its_members or ():
            (owner, function), *_ = [(base, vars(base)[member]) for base in x.__mro__ if member in vars(base)]
            text = examples(function) + "".join(examples(kind) for _, kind in classes if issubclass(kind, owner))
            if is_attribute(function) or member in CALLED_BY_TORCH or examples(function):
                continue
            if not re.search(rf"\.{member}\(", text):
                missing.append(f"{name}.{member}")
    return missing


def is_attribute(x):
    """Whether a member is read rather than called; the docstrings of its class explain it."""
    return inspect.isdatadescriptor(x)


def examples(x):
    """The lines of the docstring's examples, without their output."""
    return "".join(
        f"{line}\n" for line in (inspect.getdoc(x) or "").splitlines() if re.match(r"\s*(>>>|\.\.\.) ", line)
    )
