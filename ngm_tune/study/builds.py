"""Check that the methods of a study can be built on its networks. This imports torch."""

from __future__ import annotations

from inspect import signature

from ngm_tune.methods import Config, Method
from ngm_tune.methods.finite_space import centre, corner
from ngm_tune.methods.named import is_named
from ngm_tune.methods.named_checks import explain_unusable
from ngm_tune.study.plan import StudyPlan


def check_builds(plan: StudyPlan) -> None:
    """Build the methods with the hyper-parameters that the study gives itself.

    These are the ends of the ranges in ``search_space``, ``fixed`` and ``settings``. Optimizers of
    libraries are built at the centre of their search space, and take some steps. Methods that a
    study uses with their own search spaces are not built, so that most studies do not import torch.

    Args:
        plan: The plan of the study.

    Raises:
        ValueError: A method cannot be built; the message names the key, the values and the reason.
    """
    study = plan.study
    for method in study.search_space:
        _check_corners(plan, method)
    for name, fixed in study.fixed.items():
        _check_hyperparameters(plan, f"fixed.{name}", plan.methods[name].example, name, fixed)
    for name, settings in (study.settings or {}).items():
        _check_hyperparameters(plan, f"settings.{name}", {}, name, settings)
    for name in filter(is_named, study.methods):
        _check_named(plan, name)


def _check_named(plan: StudyPlan, name: str) -> None:
    """Raise ValueError unless an optimizer of a library can be built and trained."""
    study, method = plan.study, plan.methods[name]
    searched = (
        method.settings_at(centre(plan.spaces[name]))
        if study.settings is None
        else study.settings[name]
    )
    for benchmark in study.benchmarks:
        settings = plan.fixed_hyperparameters(benchmark, name) | searched
        problem = _explain_build_failure(plan, benchmark, method, settings)
        if problem is not None:
            raise ValueError(f"{name} cannot be used on {benchmark}: {problem}")
    problem = explain_unusable(method, settings)
    if problem is not None:
        raise ValueError(problem)


def _check_corners(plan: StudyPlan, name: str) -> None:
    """Raise ValueError unless a method can be built at both ends of its ranges."""
    method = plan.methods[name]
    for high in (False, True):
        point = corner(plan.spaces[name], high=high)
        for benchmark in plan.study.benchmarks:
            arguments = plan.fixed_hyperparameters(benchmark, name) | method.settings_at(point)
            problem = _explain_build_failure(plan, benchmark, method, arguments)
            if problem is not None:
                raise ValueError(f"search_space.{name} allows {point}: {problem}")


def _check_hyperparameters(
    plan: StudyPlan, key: str, searched: Config, name: str, settings: Config
) -> None:
    """Raise ValueError unless a method can be built with these hyper-parameters.

    Args:
        plan: The plan of the study.
        key: Key of the hyper-parameters in the study, for messages.
        searched: Examples of the searched hyper-parameters.
        name: Name of the method.
        settings: The hyper-parameters.
    """
    method = plan.methods[name]
    for benchmark in plan.study.benchmarks:
        arguments = searched | plan.fixed_hyperparameters(benchmark, name) | settings
        problem = _explain_build_failure(plan, benchmark, method, arguments)
        if problem is not None:
            values = ", ".join(f"{k} = {v!r}" for k, v in settings.items()) or "nothing"
            where = f" on {benchmark}" if len(plan.study.benchmarks) > 1 else ""
            raise ValueError(
                f"{key} has {values}{where}: {problem}; the searched hyper-parameters are "
                f"{', '.join(method.hyperparameters) or 'none'}"
            )


def _explain_build_failure(
    plan: StudyPlan, benchmark: str, method: Method, arguments: Config
) -> str | None:
    """Return why a method cannot be built on the network of a benchmark; None if it can."""
    try:
        model = plan.build_network(benchmark)
        signature(method.build).bind(model, **arguments)
        method.build(model, **arguments)
    except (TypeError, ValueError) as error:
        return str(error)
    except Exception as error:  # build can be user code
        return repr(error)
    return None
