"""The methods that studies compare, each with its search space.

Other packages can add methods with entry points of the group ``ngm_tune.methods``, and
the registry also takes the methods of a Python file (:class:`~ngm_tune.methods.files.MethodsFile`).
Importing this package does not import torch.
"""

from __future__ import annotations

from ngm_tune.methods.method import Config, Method, log_uniform
from ngm_tune.methods.named import is_named, named_method
from ngm_tune.methods.registry import current_registry

__all__ = ["Config", "Method", "get_method", "log_uniform", "methods"]


def methods() -> dict[str, Method]:
    """Return all methods by name: built-in ones, then those of installed packages and of files."""
    return current_registry().methods


def get_method(name: str) -> Method:
    """Return a method by name.

    Args:
        name: Name of a method, or of an optimizer such as ``torch:Adagrad``.

    Raises:
        ValueError: No method has this name, or the entry point of the method is broken.
    """
    if is_named(name) and name not in methods():
        return named_method(name)
    problem = current_registry().explain_missing(name)
    if problem is not None:
        raise ValueError(problem)
    if name not in methods():
        raise ValueError(f"no method {name!r}; the methods are {', '.join(methods())}")
    return methods()[name]
