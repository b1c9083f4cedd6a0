"""What is compared: every method with the space its hyper-parameters are searched in.

To add a method, add one entry to ``_BUILT_IN``. A package of your own adds its methods without
touching this file, by naming them as entry points of the group ``ngm_tune.methods``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ngm_tune.errors import UserError
from ngm_tune.optim import NGMSGD

Config = dict[str, Any]


def log_uniform(low: float, high: float) -> FloatDistribution:
    """A positive parameter searched on a logarithmic scale."""
    return FloatDistribution(low, high, log=True)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way of training, and where its hyper-parameters are searched.

    Attributes:
        name: How studies and results call it.
        title: How reports call it.
        source: The paper it comes from.
        space: Search coordinates and their ranges.
        build: Makes the optimizer: ``build(model, **hyperparameters)``.
        configure: From search coordinates to hyper-parameters, where they differ.
    """

    name: str
    title: str
    source: str
    space: Mapping[str, BaseDistribution]
    build: Callable[..., Optimizer] = field(repr=False)
    configure: Callable[[Config], Config] = field(default=dict, repr=False)

    @property
    def hyperparameters(self) -> dict[str, type]:
        """Names and types of the hyper-parameters that ``build`` takes."""
        corner = {name: _some_value(distribution) for name, distribution in self.space.items()}
        return {name: type(value) for name, value in self.configure(corner).items()}


def _some_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low  # type: ignore[attr-defined]


def _gain_dynamics(point: Config) -> Config:
    """From the gain's steady-state amplification and decay to eta and gamma.

    At a constant entropy H the gain settles at g_0 + H * eta/(1 - gamma): eta and gamma are
    searched through this DC gain and the decay 1 - gamma, which act independently.
    """
    return {
        "lr": point["lr"],
        "gain_sensitivity": point["dc_gain"] * point["gain_decay"],
        "entropy_smoothing": 1.0 - point["gain_decay"],
    }


def _sgd(model: nn.Module, lr: float, momentum: float = 0.0, nesterov: bool = False) -> SGD:
    return SGD(model.parameters(), lr=lr, momentum=momentum, nesterov=nesterov)


_SGD_LR = log_uniform(1e-3, 1.0)
_ADAM_LR = log_uniform(1e-4, 1e-1)

_BUILT_IN = (
    Method(
        name="ngm-sgd",
        title="NGM-SGD",
        source="arXiv 2507.14056",
        space={
            "lr": _SGD_LR,
            "dc_gain": log_uniform(0.1, 10.0),
            "gain_decay": log_uniform(0.01, 0.5),
        },
        configure=_gain_dynamics,
        build=NGMSGD,
    ),
    Method(
        name="ngm-sgd-frozen-gain",
        title="NGM-SGD, gain frozen",
        source="ablation of arXiv 2507.14056: the gain a constant, whatever the entropy",
        space={"lr": _SGD_LR, "baseline_gain": log_uniform(0.5, 5.0)},
        build=lambda model, **hyperparameters: NGMSGD(
            model, gain_sensitivity=0.0, **hyperparameters
        ),
    ),
    Method(
        name="temperature",
        title="SGD, fixed temperature",
        source="control: the logits times a constant, whatever the entropy",
        space={"lr": _SGD_LR, "inverse_temperature": log_uniform(0.2, 50.0)},
        build=lambda model, lr, inverse_temperature: NGMSGD(
            model,
            lr=lr,
            gain_sensitivity=0.0,
            baseline_gain=inverse_temperature,
            layers="output",
        ),
    ),
    Method(
        name="sgd",
        title="SGD",
        source="Robbins and Monro 1951",
        space={"lr": _SGD_LR},
        build=_sgd,
    ),
    Method(
        name="momentum-sgd",
        title="SGD with momentum 0.9",
        source="Polyak 1964",
        space={"lr": _SGD_LR},
        build=lambda model, lr: _sgd(model, lr, momentum=0.9),
    ),
    Method(
        name="nesterov",
        title="Nesterov momentum 0.9",
        source="Sutskever et al. 2013",
        space={"lr": _SGD_LR},
        build=lambda model, lr: _sgd(model, lr, momentum=0.9, nesterov=True),
    ),
    Method(
        name="adam",
        title="Adam",
        source="arXiv 1412.6980",
        space={"lr": _ADAM_LR},
        build=lambda model, lr: Adam(model.parameters(), lr=lr),
    ),
    Method(
        name="adamw",
        title="AdamW",
        source="arXiv 1711.05101",
        space={"lr": _ADAM_LR, "weight_decay": log_uniform(1e-5, 1e-1)},
        build=lambda model, lr, weight_decay: AdamW(
            model.parameters(), lr=lr, weight_decay=weight_decay
        ),
    ),
)


@cache
def methods() -> dict[str, Method]:
    """Every method by name: the built-in ones, then those of installed packages.

    Raises:
        UserError: An entry point cannot be loaded or is no :class:`Method`, or two methods have the
            same name.
    """
    found = {method.name: method for method in _BUILT_IN}
    for entry_point in entry_points(group="ngm_tune.methods"):
        try:
            method = entry_point.load()
        except Exception as error:
            raise UserError(
                f"entry point {entry_point.value} of ngm_tune.methods cannot be loaded: {error!r}"
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
