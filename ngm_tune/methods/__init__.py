"""The methods that studies compare, each with its search space.

Other packages can add methods with entry points of the group ``ngm_tune.methods``. Importing this
package does not import torch.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from ngm_tune.errors import UserError
from ngm_tune.methods.built_in import BUILT_IN
from ngm_tune.methods.method import Config, Method, log_uniform
from ngm_tune.methods.named import is_named, named_method

__all__ = ["Config", "Method", "get_method", "log_uniform", "methods"]


@cache
def methods() -> dict[str, Method]:
    """Return all methods by name: the built-in methods, then methods of installed packages.

    Raises:
        UserError: An entry point cannot be loaded or is not a :class:`Method`, or two methods have
            the same name.
    """
    by_name = {method.name: method for method in BUILT_IN}
    for entry_point in entry_points(group="ngm_tune.methods"):
        try:
            method = entry_point.load()
        except Exception as error:
            raise UserError(
                f"entry point {entry_point.value} of ngm_tune.methods cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(method, Method):
            raise UserError(f"entry point {entry_point.value} is not an ngm_tune.methods.Method")
        if method.name in by_name:
            raise UserError(
                f"entry point {entry_point.value}: the method {method.name!r} already exists"
            )
        by_name[method.name] = method
    return by_name


def get_method(name: str) -> Method:
    """Return a method by name.

    Args:
        name: Name of a method, or of an optimizer such as ``torch:Adagrad``.

    Raises:
        ValueError: No method has this name.
    """
    if is_named(name) and name not in methods():
        return named_method(name)
    if name not in methods():
        raise ValueError(f"no method {name!r}; the methods are {', '.join(methods())}")
    return methods()[name]
