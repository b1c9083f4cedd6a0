"""Functions that build the built-in methods.

Reading their signatures does not import torch; calling them does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import SGD, Optimizer

    from ngm_tune import learners
    from ngm_tune.optim import NGMSGD

    _Build = Callable[..., learners.Learner]


def ngm_sgd(
    model: nn.Module,
    lr: float | Tensor = 1e-2,
    *,
    gain_sensitivity: float = 0.4,
    entropy_smoothing: float = 0.9,
    baseline_gain: float = 1.0,
    layers: str | Iterable[str] = "all",
    output: str | Iterable[str] | None = None,
    backbone_momentum: float = 0.0,
    normalise_entropy: bool = False,
    weight_decay: float = 0.0,
) -> NGMSGD:
    """Build :class:`ngm_tune.NGMSGD`, with the same arguments and defaults, in one process."""
    from ngm_tune.optim import NGMSGD

    return NGMSGD(
        model,
        lr,
        gain_sensitivity=gain_sensitivity,
        entropy_smoothing=entropy_smoothing,
        baseline_gain=baseline_gain,
        layers=layers,
        output=output,
        backbone_momentum=backbone_momentum,
        normalise_entropy=normalise_entropy,
        weight_decay=weight_decay,
    )


def _extends_ngm_sgd(**extra: Any) -> Callable[[_Build], _Build]:
    """Give a function of ``**settings`` the signature of :func:`ngm_sgd` and extra parameters.

    Args:
        extra: Defaults of the extra keyword-only parameters, by name.
    """

    def decorate(build: _Build) -> _Build:
        added = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=type(default))
            for name, default in extra.items()
        ]
        base = signature(ngm_sgd)
        build.__signature__ = base.replace(  # type: ignore[attr-defined]
            parameters=[*base.parameters.values(), *added]
        )
        return build

    return decorate


@_extends_ngm_sgd()
def mean_entropy(model: nn.Module, **settings: Any) -> learners.Learner:
    """Build :class:`ngm_tune.learners.MeanEntropy`."""
    from ngm_tune.learners import MeanEntropy

    return MeanEntropy(model, **settings)


@_extends_ngm_sgd(exponent=1.0)
def entropy_lr(model: nn.Module, **settings: Any) -> learners.Learner:
    """Build :class:`ngm_tune.learners.EntropyLearningRate`."""
    from ngm_tune.learners import EntropyLearningRate

    return EntropyLearningRate(model, **settings)


@_extends_ngm_sgd(delay=50)
def gain_decoy(model: nn.Module, delay: int = 50, **settings: Any) -> learners.Learner:
    """Build :class:`ngm_tune.learners.GainDecoy`."""
    from ngm_tune.learners import GainDecoy

    return GainDecoy(model, delay, **settings)


def temperature(
    model: nn.Module, lr: float, inverse_temperature: float, backbone_momentum: float = 0.0
) -> NGMSGD:
    """Build SGD with a constant gain on the output layer, an inverse temperature of the logits."""
    return ngm_sgd(
        model,
        lr=lr,
        gain_sensitivity=0.0,
        baseline_gain=inverse_temperature,
        layers="output",
        backbone_momentum=backbone_momentum,
    )


def sgd(model: nn.Module, lr: float, momentum: float = 0.0, nesterov: bool = False) -> SGD:
    """Build :class:`torch.optim.SGD`."""
    from torch.optim import SGD

    return SGD(model.parameters(), lr=lr, momentum=momentum, nesterov=nesterov)


def momentum_sgd(model: nn.Module, lr: float) -> SGD:
    """Build SGD with momentum 0.9."""
    return sgd(model, lr, momentum=0.9)


def nesterov(model: nn.Module, lr: float) -> SGD:
    """Build SGD with Nesterov momentum 0.9."""
    return sgd(model, lr, momentum=0.9, nesterov=True)


def adam(model: nn.Module, lr: float) -> Optimizer:
    """Build :class:`torch.optim.Adam`."""
    from torch.optim import Adam

    return Adam(model.parameters(), lr=lr)


def adamw(model: nn.Module, lr: float, weight_decay: float) -> Optimizer:
    """Build :class:`torch.optim.AdamW`."""
    from torch.optim import AdamW

    return AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)


def sam(model: nn.Module, lr: float, radius: float, momentum: float = 0.9) -> learners.Learner:
    """Build :class:`ngm_tune.learners.SharpnessAware`."""
    from ngm_tune.learners import SharpnessAware

    return SharpnessAware(model, lr, radius, momentum)


def ema(model: nn.Module, lr: float, decay: float, momentum: float = 0.0) -> learners.Learner:
    """Build :class:`ngm_tune.learners.ExponentialAverage` of SGD."""
    from ngm_tune.learners import ExponentialAverage

    return ExponentialAverage(model, sgd(model, lr, momentum), decay)


def gem_joint(model: nn.Module, lr: float, momentum: float = 0.0) -> learners.Learner:
    """Build :class:`ngm_tune.learners.GradientProjection` of SGD."""
    from ngm_tune.learners import GradientProjection

    return GradientProjection(model, sgd(model, lr, momentum))


def warmup_oracle(
    model: nn.Module, lr: float, warmup: int, momentum: float = 0.9
) -> learners.Learner:
    """Build :class:`ngm_tune.learners.WarmUp` of SGD."""
    from ngm_tune.learners import WarmUp

    return WarmUp(model, sgd(model, lr, momentum), warmup)


def momentum_reset_oracle(model: nn.Module, lr: float, momentum: float = 0.9) -> learners.Learner:
    """Build :class:`ngm_tune.learners.MomentumReset` of SGD."""
    from ngm_tune.learners import MomentumReset

    return MomentumReset(model, sgd(model, lr, momentum))


def ewc(
    model: nn.Module,
    lr: float,
    strength: float,
    fisher_examples: int = 1000,
    momentum: float = 0.0,
) -> learners.Learner:
    """Build :class:`ngm_tune.learners.ElasticWeightConsolidation` of SGD."""
    from ngm_tune.learners import ElasticWeightConsolidation

    return ElasticWeightConsolidation(model, sgd(model, lr, momentum), strength, fisher_examples)


def si(
    model: nn.Module, lr: float, strength: float, damping: float = 0.1, momentum: float = 0.0
) -> learners.Learner:
    """Build :class:`ngm_tune.learners.SynapticIntelligence` of SGD."""
    from ngm_tune.learners import SynapticIntelligence

    return SynapticIntelligence(model, sgd(model, lr, momentum), strength, damping)


def er(
    model: nn.Module, lr: float, buffer_size: int = 500, momentum: float = 0.0
) -> learners.Learner:
    """Build :class:`ngm_tune.learners.ExperienceReplay` of SGD."""
    from ngm_tune.learners import ExperienceReplay

    return ExperienceReplay(model, sgd(model, lr, momentum), buffer_size)
