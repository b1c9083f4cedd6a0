"""Checks of optimizers by name: each has a search space, and trains with the steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from ngm_tune.methods.method import Method
from ngm_tune.methods.named import find_optimizer, is_named, named_method

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from ngm_tune.learners import Learner

_TRIED_STEPS = 20
"""Steps after which weights must have changed; AdaShift begins after ten, RAdam after five."""


def require_space(method: Method, fixed: Mapping[str, Any]) -> None:
    """Check that a named method has a search space.

    Raises:
        ValueError: It has none; the message names the hyper-parameters.
    """
    if not method.space and not fixed:
        names = list(signature(method.build).parameters)[1:]
        raise ValueError(
            f"{method.name} has no search space of its own: give ranges in "
            f'search_space."{method.name}"; it takes {", ".join(names)}'
        )


def averages_weights(name: str) -> bool:
    """Whether a method is an optimizer of a library that is evaluated at averaged weights."""
    if not is_named(name):
        return False
    optimizer = find_optimizer(name)
    has_modes = hasattr(optimizer, "train") and hasattr(optimizer, "eval")
    return has_modes or name == "pytorch_optimizer:Lookahead"


def explain_unusable(method: Method, settings: Mapping[str, Any]) -> str | None:
    """Return why a named method cannot train a small network; None if it can."""
    return _explain_unusable(method.name, tuple(settings.items()))


@cache
def _explain_unusable(name: str, settings: tuple[tuple[str, Any], ...]) -> str | None:
    import torch

    from ngm_tune.learners import Learner

    build = partial(named_method(name).build, **dict(settings))
    try:
        before, trained, built = _try_steps(build)
        if all(map(torch.equal, before, trained)):
            return f"{name} cannot be used: its step does not change the weights"
        if isinstance(built, Learner) or "closure" not in signature(built.step).parameters:
            return None
        _, trained_with_loss, _ = _try_steps(build, with_loss=True)
    except Exception as error:  # optimizers raise exceptions of every type
        return f"{name} cannot be used: {str(error) or repr(error)}"
    if not all(map(torch.equal, trained, trained_with_loss)):
        return (
            f"{name} cannot be used: its step depends on the loss, which it is not given; write a "
            "method of your own, a Learner that calls step with a closure"
        )
    return None


def _try_steps(
    build: Callable[[nn.Module], Optimizer | Learner], *, with_loss: bool = False
) -> tuple[list[Tensor], list[Tensor], Optimizer | Learner]:
    """Train a small network for some steps.

    Args:
        build: Builds an optimizer or a learner.
        with_loss: Whether ``step`` of the optimizer receives a loss, which varies greatly.

    Returns:
        The weights before and after, and the optimizer or learner.
    """
    import torch
    from torch import nn

    from ngm_tune.learners import Batch, Learner
    from ngm_tune.learners.modes import set_training_mode

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False))
        batch = Batch(torch.randn(16, 8), torch.arange(16) % 4, torch.zeros(16, dtype=torch.long))
        before = [p.detach().clone() for p in model.parameters()]
        built = build(model)
        learner = built if isinstance(built, Learner) else Learner(model, built)
        for number in range(_TRIED_STEPS):
            set_training_mode(learner)
            if with_loss:
                loss = learner.backward(batch).loss * 10.0 ** (number % 3)
                learner.optimizer.step(lambda loss=loss: loss)  # type: ignore[misc]
            else:
                learner.learn(batch)
        return before, [p.detach().clone() for p in model.parameters()], built
