"""The methods that come with ngm-tune. To add one, add an entry to :data:`BUILT_IN`."""

from __future__ import annotations

from functools import partial

from optuna.distributions import IntDistribution

from ngm_tune.methods import builders
from ngm_tune.methods.method import Config, Method, log_uniform


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


def _renewal(given: Config) -> Config:
    """The inverse of :func:`_averaging`."""
    return {"lr": given["lr"], "renewal": 1.0 - given["decay"]}


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
        build=builders.ngm_sgd,
    ),
    Method(
        name="ngm-sgd-frozen-gain",
        title="NGM-SGD, gain frozen",
        source="ablation of arXiv 2507.14056: the gain a constant, whatever the entropy",
        space={"lr": _SGD_LR, "baseline_gain": log_uniform(0.5, 5.0)},
        build=partial(builders.ngm_sgd, gain_sensitivity=0.0),
    ),
    Method(
        name="ngm-sgd-mean-entropy",
        title="NGM-SGD, mean entropy",
        source="ablation of arXiv 2507.14056: driven by the mean of all entropies so far",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=builders.mean_entropy,
    ),
    Method(
        name="ngm-sgd-output",
        title="NGM-SGD, output layer",
        source="ablation of arXiv 2507.14056: gain on the output layer only",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=partial(builders.ngm_sgd, layers="output"),
    ),
    Method(
        name="gain-decoy",
        title="SGD, decoy gain",
        source="control: the gain of another run of NGM-SGD, late",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=builders.gain_decoy,
    ),
    Method(
        name="entropy-lr",
        title="SGD, entropy-driven learning rate",
        source="control: the gain of arXiv 2507.14056 on the learning rate, not on the network",
        space=_GAIN,
        configure=_gain_dynamics,
        locate=_steady_gain,
        build=builders.entropy_lr,
    ),
    Method(
        name="temperature",
        title="SGD, fixed temperature",
        source="control: the logits times a constant, whatever the entropy",
        space={"lr": _SGD_LR, "inverse_temperature": log_uniform(0.2, 50.0)},
        build=builders.temperature,
    ),
    Method(
        name="sgd",
        title="SGD",
        source="Robbins and Monro 1951",
        space={"lr": _SGD_LR},
        build=builders.sgd,
    ),
    Method(
        name="momentum-sgd",
        title="SGD with momentum 0.9",
        source="Polyak 1964",
        space={"lr": _MOMENTUM_LR},
        build=builders.momentum_sgd,
    ),
    Method(
        name="nesterov",
        title="Nesterov momentum 0.9",
        source="Sutskever et al. 2013",
        space={"lr": _MOMENTUM_LR},
        build=builders.nesterov,
    ),
    Method(
        name="adam",
        title="Adam",
        source="arXiv 1412.6980",
        space={"lr": _ADAM_LR},
        build=builders.adam,
    ),
    Method(
        name="adamw",
        title="AdamW",
        source="arXiv 1711.05101",
        space={"lr": _ADAM_LR, "weight_decay": log_uniform(1e-5, 1e-1)},
        build=builders.adamw,
    ),
    Method(
        name="sam",
        title="SAM with momentum 0.9",
        source="arXiv 2010.01412",
        space={"lr": _MOMENTUM_LR, "radius": log_uniform(0.005, 0.5)},
        build=builders.sam,
    ),
    Method(
        name="ema",
        title="SGD, averaged weights",
        source="arXiv 2306.16817",
        space={"lr": _SGD_LR, "renewal": log_uniform(0.001, 0.3)},
        configure=_averaging,
        locate=_renewal,
        build=builders.ema,
    ),
    Method(
        name="gem-joint",
        title="SGD, projected gradient (joint + GEM)",
        source="arXiv 2311.04898, with the projection of arXiv 1706.08840",
        space={"lr": _SGD_LR},
        build=builders.gem_joint,
        task_aware=True,
    ),
    Method(
        name="warmup-oracle",
        title="SGD with momentum 0.9, warm-up after transitions",
        source="oracle: linear warm-up (arXiv 1706.02677) at each known transition",
        space={"lr": _MOMENTUM_LR, "warmup": IntDistribution(5, 200, log=True)},
        build=builders.warmup_oracle,
        task_aware=True,
    ),
    Method(
        name="momentum-reset-oracle",
        title="SGD with momentum 0.9, reset at transitions",
        source="oracle: momentum zeroed at each known transition (arXiv 2507.14056, v3)",
        space={"lr": _MOMENTUM_LR},
        build=builders.momentum_reset_oracle,
        task_aware=True,
    ),
    Method(
        name="ewc",
        title="EWC",
        source="arXiv 1612.00796",
        space={"lr": _SGD_LR, "pull": log_uniform(1e-3, 10.0)},
        configure=_penalty,
        locate=_pull,
        build=builders.ewc,
        task_aware=True,
    ),
    Method(
        name="si",
        title="SI",
        source="arXiv 1703.04200",
        space={"lr": _SGD_LR, "pull": log_uniform(1e-3, 10.0)},
        configure=_penalty,
        locate=_pull,
        build=builders.si,
        task_aware=True,
    ),
    Method(
        name="er",
        title="Experience replay",
        source="arXiv 1902.10486",
        space={"lr": _SGD_LR},
        build=builders.er,
        task_aware=True,
    ),
)
