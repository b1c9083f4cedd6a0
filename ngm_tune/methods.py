"""What is compared: every method with the space its hyper-parameters are searched in.

To add a method, add one entry to ``_BUILT_IN``. A package of your own adds its methods without
touching this file, by naming them as entry points of the group ``ngm_tune.methods``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from inspect import signature
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ngm_tune import learners
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
        build: Makes the optimizer, ``build(model, **hyperparameters)``, or for what is more than an
            optimizer a :class:`~ngm_tune.learners.Learner`.
        configure: From search coordinates to hyper-parameters, where they differ.
        told: Whether it is told when a task begins or ends, or of which task an example is. What
            nobody tells in practice makes an upper bound, an "oracle".
    """

    name: str
    title: str
    source: str
    space: Mapping[str, BaseDistribution]
    build: Callable[..., Optimizer | learners.Learner] = field(repr=False)
    configure: Callable[[Config], Config] = field(default=dict, repr=False)
    told: bool = False

    def accepts(self, hyperparameter: str) -> bool:
        """Whether ``build`` takes a hyper-parameter of that name."""
        return hyperparameter in signature(self.build).parameters

    @property
    def hyperparameters(self) -> dict[str, type]:
        """Names and types of the hyper-parameters that ``build`` takes."""
        return {name: type(value) for name, value in self.example.items()}

    @property
    def example(self) -> Config:
        """The hyper-parameters of one corner of the search space: the smallest values."""
        return self.configure({name: _some_value(where) for name, where in self.space.items()})


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


def _averaging(point: Config) -> Config:
    """From the share of the average that is renewed in each step to the share that is kept."""
    return {"lr": point["lr"], "decay": 1.0 - point["renewal"]}


def _sgd(model: nn.Module, lr: float, momentum: float = 0.0, nesterov: bool = False) -> SGD:
    return SGD(model.parameters(), lr=lr, momentum=momentum, nesterov=nesterov)


def _mean_entropy(
    model: nn.Module,
    lr: float,
    gain_sensitivity: float,
    entropy_smoothing: float,
    layers: str = "all",
    backbone_momentum: float = 0.0,
) -> learners.Learner:
    return learners.MeanEntropy(
        model,
        lr=lr,
        gain_sensitivity=gain_sensitivity,
        entropy_smoothing=entropy_smoothing,
        layers=layers,
        backbone_momentum=backbone_momentum,
    )


def _decoy(
    model: nn.Module,
    lr: float,
    gain_sensitivity: float,
    entropy_smoothing: float,
    delay: int,
    layers: str = "all",
    backbone_momentum: float = 0.0,
) -> learners.Learner:
    return learners.GainDecoy(
        model,
        delay,
        lr=lr,
        gain_sensitivity=gain_sensitivity,
        entropy_smoothing=entropy_smoothing,
        layers=layers,
        backbone_momentum=backbone_momentum,
    )


_SGD_LR = log_uniform(1e-3, 1.0)
_ADAM_LR = log_uniform(1e-4, 1e-1)
_GAIN = {
    "lr": _SGD_LR,
    "dc_gain": log_uniform(0.1, 10.0),
    "gain_decay": log_uniform(0.01, 0.5),
}

_BUILT_IN = (
    Method(
        name="ngm-sgd",
        title="NGM-SGD",
        source="arXiv 2507.14056",
        space=_GAIN,
        configure=_gain_dynamics,
        build=NGMSGD,
    ),
    Method(
        name="ngm-sgd-frozen-gain",
        title="NGM-SGD, gain frozen",
        source="ablation of arXiv 2507.14056: the gain a constant, whatever the entropy",
        space={"lr": _SGD_LR, "baseline_gain": log_uniform(0.5, 5.0)},
        build=lambda model, lr, baseline_gain, layers="all", backbone_momentum=0.0: NGMSGD(
            model,
            lr=lr,
            gain_sensitivity=0.0,
            baseline_gain=baseline_gain,
            layers=layers,
            backbone_momentum=backbone_momentum,
        ),
    ),
    Method(
        name="ngm-sgd-mean-entropy",
        title="NGM-SGD, mean entropy",
        source="ablation of arXiv 2507.14056: driven by the mean of all entropies so far",
        space=_GAIN,
        configure=_gain_dynamics,
        build=_mean_entropy,
    ),
    Method(
        name="ngm-sgd-output",
        title="NGM-SGD, output layer",
        source="ablation of arXiv 2507.14056: gain on the output layer only",
        space=_GAIN,
        configure=_gain_dynamics,
        build=lambda model, lr, gain_sensitivity, entropy_smoothing, backbone_momentum=0.0: NGMSGD(
            model,
            lr=lr,
            gain_sensitivity=gain_sensitivity,
            entropy_smoothing=entropy_smoothing,
            layers="output",
            backbone_momentum=backbone_momentum,
        ),
    ),
    Method(
        name="gain-decoy",
        title="SGD, decoy gain",
        source="control: the gain of another run of NGM-SGD, late",
        space={**_GAIN, "delay": IntDistribution(10, 200, log=True)},
        configure=lambda point: {**_gain_dynamics(point), "delay": point["delay"]},
        build=_decoy,
    ),
    Method(
        name="entropy-lr",
        title="SGD, entropy-driven learning rate",
        source="control: the gain of arXiv 2507.14056 on the learning rate, not on the network",
        space=_GAIN,
        configure=_gain_dynamics,
        build=learners.EntropyLearningRate,
    ),
    Method(
        name="temperature",
        title="SGD, fixed temperature",
        source="control: the logits times a constant, whatever the entropy",
        space={"lr": _SGD_LR, "inverse_temperature": log_uniform(0.2, 50.0)},
        build=lambda model, lr, inverse_temperature, backbone_momentum=0.0: NGMSGD(
            model,
            lr=lr,
            gain_sensitivity=0.0,
            baseline_gain=inverse_temperature,
            layers="output",
            backbone_momentum=backbone_momentum,
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
    Method(
        name="sam",
        title="SAM",
        source="arXiv 2010.01412",
        space={"lr": _SGD_LR, "radius": log_uniform(0.005, 0.5)},
        build=learners.SharpnessAware,
    ),
    Method(
        name="ema",
        title="SGD, averaged weights",
        source="arXiv 2306.12119",
        space={"lr": _SGD_LR, "renewal": log_uniform(0.001, 0.3)},
        configure=_averaging,
        build=lambda model, lr, decay, momentum=0.0: learners.ExponentialAverage(
            model, _sgd(model, lr, momentum), decay
        ),
    ),
    Method(
        name="gem-joint",
        title="SGD, projected gradient (joint + GEM)",
        source="arXiv 2311.04898, with the projection of arXiv 1706.08840",
        space={"lr": _SGD_LR},
        build=lambda model, lr, momentum=0.0: learners.GradientProjection(
            model, _sgd(model, lr, momentum)
        ),
        told=True,
    ),
    Method(
        name="warmup-oracle",
        title="SGD with momentum 0.9, warm-up after transitions",
        source="oracle: linear warm-up (arXiv 1706.02677) at each known transition",
        space={"lr": _SGD_LR, "warmup": IntDistribution(5, 200, log=True)},
        build=lambda model, lr, warmup, momentum=0.9: learners.WarmUp(
            model, _sgd(model, lr, momentum), warmup
        ),
        told=True,
    ),
    Method(
        name="momentum-reset-oracle",
        title="SGD with momentum 0.9, reset at transitions",
        source="oracle: momentum zeroed at each known transition (arXiv 2507.14056, v3)",
        space={"lr": _SGD_LR},
        build=lambda model, lr, momentum=0.9: learners.MomentumReset(
            model, _sgd(model, lr, momentum)
        ),
        told=True,
    ),
    Method(
        name="ewc",
        title="EWC",
        source="arXiv 1612.00796",
        space={"lr": _SGD_LR, "strength": log_uniform(1.0, 1e4)},
        build=lambda model, lr, strength, fisher_examples=1000, momentum=0.0: (
            learners.ElasticWeightConsolidation(
                model, _sgd(model, lr, momentum), strength, fisher_examples
            )
        ),
        told=True,
    ),
    Method(
        name="si",
        title="SI",
        source="arXiv 1703.04200",
        space={"lr": _SGD_LR, "strength": log_uniform(0.01, 100.0)},
        build=lambda model, lr, strength, damping=0.1, momentum=0.0: learners.SynapticIntelligence(
            model, _sgd(model, lr, momentum), strength, damping
        ),
        told=True,
    ),
    Method(
        name="er",
        title="Experience replay",
        source="arXiv 1902.10486",
        space={"lr": _SGD_LR},
        build=lambda model, lr, buffer_size=500, momentum=0.0: learners.ExperienceReplay(
            model, _sgd(model, lr, momentum), buffer_size
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
