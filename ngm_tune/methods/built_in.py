"""The methods that come with ngm-tune. To add one, add an entry to :data:`BUILT_IN`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import Parameter, signature
from typing import Any

from optuna.distributions import IntDistribution
from torch import nn
from torch.optim import SGD, Adam, AdamW

from ngm_tune import learners
from ngm_tune.methods.method import Config, Method, log_uniform
from ngm_tune.optim import NGMSGD

_Build = Callable[..., learners.Learner]


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


def _steady_gain(given: Config) -> Config:
    """The inverse of :func:`_gain_dynamics`."""
    decay = 1.0 - given["entropy_smoothing"]
    return {
        "lr": given["lr"],
        "dc_gain": given["gain_sensitivity"] / decay,
        "gain_decay": decay,
    }


def _averaging(point: Config) -> Config:
    """From the share of the average that is renewed in each step to the share that is kept."""
    return {"lr": point["lr"], "decay": 1.0 - point["renewal"]}


def _penalty(point: Config) -> Config:
    """From the pull, ``lr * strength``, to the strength of a quadratic penalty.

    A step moves a parameter by this times its importance of the way back to where an old task left
    it: beyond 2 over the importance that overshoots and diverges, whatever the learning rate.
    """
    return {"lr": point["lr"], "strength": point["pull"] / point["lr"]}


def _pull(given: Config) -> Config:
    """The inverse of :func:`_penalty`."""
    return {"lr": given["lr"], "pull": given["lr"] * given["strength"]}


def _sgd(model: nn.Module, lr: float, momentum: float = 0.0, nesterov: bool = False) -> SGD:
    return SGD(model.parameters(), lr=lr, momentum=momentum, nesterov=nesterov)


def _takes_what_ngm_sgd_takes(**more: Any) -> Callable[[_Build], _Build]:
    """Say of a function of ``**settings`` that these are NGM-SGD's, and some more by default."""

    def decorate(build: _Build) -> _Build:
        own = [
            Parameter(k, Parameter.KEYWORD_ONLY, default=v, annotation=type(v))
            for k, v in more.items()
        ]
        ngm_sgd = signature(NGMSGD)
        build.__signature__ = ngm_sgd.replace(  # type: ignore[attr-defined]
            parameters=[*ngm_sgd.parameters.values(), *own]
        )
        return build

    return decorate


@_takes_what_ngm_sgd_takes()
def _mean_entropy(model: nn.Module, **settings: Any) -> learners.Learner:
    return learners.MeanEntropy(model, **settings)


@_takes_what_ngm_sgd_takes(exponent=1.0)
def _entropy_lr(model: nn.Module, **settings: Any) -> learners.Learner:
    return learners.EntropyLearningRate(model, **settings)


@_takes_what_ngm_sgd_takes(delay=50)
def _decoy(model: nn.Module, delay: int = 50, **settings: Any) -> learners.Learner:
    return learners.GainDecoy(model, delay, **settings)


def _temperature(
    model: nn.Module, lr: float, inverse_temperature: float, backbone_momentum: float = 0.0
) -> NGMSGD:
    return NGMSGD(
        model,
        lr=lr,
        gain_sensitivity=0.0,
        baseline_gain=inverse_temperature,
        layers="output",
        backbone_momentum=backbone_momentum,
    )


def _ewc(
    model: nn.Module,
    lr: float,
    strength: float,
    fisher_examples: int = 1000,
    momentum: float = 0.0,
) -> learners.Learner:
    optimizer = _sgd(model, lr, momentum)
    return learners.ElasticWeightConsolidation(model, optimizer, strength, fisher_examples)


def _replay(
    model: nn.Module, lr: float, buffer_size: int = 500, momentum: float = 0.0
) -> learners.Learner:
    return learners.ExperienceReplay(model, _sgd(model, lr, momentum), buffer_size)


_SGD_LR = log_uniform(1e-3, 1.0)
_MOMENTUM_LR = log_uniform(1e-4, 1e-1)
"""With momentum 0.9 a gradient counts ten times in the end: the same range of what it moves."""
_ADAM_LR = log_uniform(1e-4, 1e-1)
_GAIN = {
    "lr": _SGD_LR,
    "dc_gain": log_uniform(0.1, 10.0),
    "gain_decay": log_uniform(0.01, 0.5),
}

BUILT_IN = (
    Method(
        name="ngm-sgd",
        title="NGM-SGD",
        source="arXiv 2507.14056",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=NGMSGD,
    ),
    Method(
        name="ngm-sgd-frozen-gain",
        title="NGM-SGD, gain frozen",
        source="ablation of arXiv 2507.14056: the gain a constant, whatever the entropy",
        space={"lr": _SGD_LR, "baseline_gain": log_uniform(0.5, 5.0)},
        build=partial(NGMSGD, gain_sensitivity=0.0),
    ),
    Method(
        name="ngm-sgd-mean-entropy",
        title="NGM-SGD, mean entropy",
        source="ablation of arXiv 2507.14056: driven by the mean of all entropies so far",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=_mean_entropy,
    ),
    Method(
        name="ngm-sgd-output",
        title="NGM-SGD, output layer",
        source="ablation of arXiv 2507.14056: gain on the output layer only",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=partial(NGMSGD, layers="output"),
    ),
    Method(
        name="gain-decoy",
        title="SGD, decoy gain",
        source="control: the gain of another run of NGM-SGD, late",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=_decoy,
    ),
    Method(
        name="entropy-lr",
        title="SGD, entropy-driven learning rate",
        source="control: the gain of arXiv 2507.14056 on the learning rate, not on the network",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=_entropy_lr,
    ),
    Method(
        name="temperature",
        title="SGD, fixed temperature",
        source="control: the logits times a constant, whatever the entropy",
        space={"lr": _SGD_LR, "inverse_temperature": log_uniform(0.2, 50.0)},
        build=_temperature,
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
        space={"lr": _MOMENTUM_LR},
        build=lambda model, lr: _sgd(model, lr, momentum=0.9),
    ),
    Method(
        name="nesterov",
        title="Nesterov momentum 0.9",
        source="Sutskever et al. 2013",
        space={"lr": _MOMENTUM_LR},
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
        title="SAM with momentum 0.9",
        source="arXiv 2010.01412",
        space={"lr": _MOMENTUM_LR, "radius": log_uniform(0.005, 0.5)},
        build=learners.SharpnessAware,
    ),
    Method(
        name="ema",
        title="SGD, averaged weights",
        source="arXiv 2306.16817",
        space={"lr": _SGD_LR, "renewal": log_uniform(0.001, 0.3)},
        configure=_averaging,
        locate=lambda given: {"lr": given["lr"], "renewal": 1.0 - given["decay"]},
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
        task_aware=True,
    ),
    Method(
        name="warmup-oracle",
        title="SGD with momentum 0.9, warm-up after transitions",
        source="oracle: linear warm-up (arXiv 1706.02677) at each known transition",
        space={"lr": _MOMENTUM_LR, "warmup": IntDistribution(5, 200, log=True)},
        build=lambda model, lr, warmup, momentum=0.9: learners.WarmUp(
            model, _sgd(model, lr, momentum), warmup
        ),
        task_aware=True,
    ),
    Method(
        name="momentum-reset-oracle",
        title="SGD with momentum 0.9, reset at transitions",
        source="oracle: momentum zeroed at each known transition (arXiv 2507.14056, v3)",
        space={"lr": _MOMENTUM_LR},
        build=lambda model, lr, momentum=0.9: learners.MomentumReset(
            model, _sgd(model, lr, momentum)
        ),
        task_aware=True,
    ),
    Method(
        name="ewc",
        title="EWC",
        source="arXiv 1612.00796",
        space={"lr": _SGD_LR, "pull": log_uniform(1e-3, 10.0)},
        configure=_penalty,
        locate=_pull,
        build=_ewc,
        task_aware=True,
    ),
    Method(
        name="si",
        title="SI",
        source="arXiv 1703.04200",
        space={"lr": _SGD_LR, "pull": log_uniform(1e-3, 10.0)},
        configure=_penalty,
        locate=_pull,
        build=lambda model, lr, strength, damping=0.1, momentum=0.0: learners.SynapticIntelligence(
            model, _sgd(model, lr, momentum), strength, damping
        ),
        task_aware=True,
    ),
    Method(
        name="er",
        title="Experience replay",
        source="arXiv 1902.10486",
        space={"lr": _SGD_LR},
        build=_replay,
        task_aware=True,
    ),
)
