"""What is compared: every method with the space its hyper-parameters are searched in.

A package of your own adds its methods without touching this one, by naming them as entry points of
the group ``ngm_tune.methods``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from ngm_tune.errors import UserError
from ngm_tune.methods.built_in import BUILT_IN
from ngm_tune.methods.method import Config, Method, log_uniform

__all__ = ["Config", "Method", "get_method", "log_uniform", "methods"]


@cache
def methods() -> dict[str, Method]:
    """Every method by name: the built-in ones, then those of installed packages.

    Raises:
        UserError: An entry point cannot be loaded or is no :class:`Method`, or two methods have the
            same name.
    """
    found = {method.name: method for method in BUILT_IN}
    for entry_point in entry_points(group="ngm_tune.methods"):
        try:
            method = entry_point.load()
        except Exception as error:
            raise UserError(
                f"entry point {entry_point.value} of ngm_tune.methods cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(method, Method):
            raise UserError(f"entry point {entry_point.value} is no ngm_tune.methods.Method")
        if method.name in found:
            raise UserError(f"entry point {entry_point.value}: {method.name!r} exists already")
        found[method.name] = method
    return found


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in methods():
        raise ValueError(f"no method {name!r}; there are {', '.join(methods())}")
    return methods()[name]
