"""The built-in methods. To add a method, add an entry to :data:`BUILT_IN`."""

from __future__ import annotations

from functools import partial

from optuna.distributions import IntDistribution

from ngm_tune.methods import builders
from ngm_tune.methods.method import Config, Method, log_uniform


def _configure_gain(point: Config) -> Config:
    """Convert the DC gain and the decay to eta and gamma.

    At a constant entropy H the gain settles at g_0 + H * eta / (1 - gamma). The search coordinates
    are the DC gain, eta / (1 - gamma), and the decay, 1 - gamma, because their effects are nearly
    independent.
    """
    return {
        "lr": point["lr"],
        "gain_sensitivity": point["dc_gain"] * point["gain_decay"],
        "entropy_smoothing": 1.0 - point["gain_decay"],
    }


def _locate_gain(settings: Config) -> Config:
    """Convert eta and gamma to the DC gain and the decay."""
    decay = 1.0 - settings["entropy_smoothing"]
    return {
        "lr": settings["lr"],
        "dc_gain": settings["gain_sensitivity"] / decay,
        "gain_decay": decay,
    }


def _configure_average(point: Config) -> Config:
    """Convert the weight of the new weights in an average to that of the previous average."""
    return {"lr": point["lr"], "decay": 1.0 - point["renewal"]}


def _locate_average(settings: Config) -> Config:
    """Convert the weight of the previous average to the weight of the new weights."""
    return {"lr": settings["lr"], "renewal": 1.0 - settings["decay"]}


def _configure_penalty(point: Config) -> Config:
    """Convert the pull, ``lr * strength``, to the strength of a quadratic penalty.

    A step moves a parameter towards its anchor by the pull times its importance times the distance.
    A pull above 2 / importance overshoots and diverges at any learning rate.
    """
    return {"lr": point["lr"], "strength": point["pull"] / point["lr"]}


def _locate_penalty(settings: Config) -> Config:
    """Convert the strength of a quadratic penalty to the pull, ``lr * strength``."""
    return {"lr": settings["lr"], "pull": settings["lr"] * settings["strength"]}


_SGD_LR = log_uniform(1e-3, 1.0)
_MOMENTUM_LR = log_uniform(1e-4, 1e-1)
"""Momentum 0.9 multiplies the total effect of a gradient by 10, so the range is 10 times lower."""
_ADAM_LR = log_uniform(1e-4, 1e-1)
_GAIN = {
    "lr": _SGD_LR,
    "dc_gain": log_uniform(0.1, 10.0),
    "gain_decay": log_uniform(0.01, 0.5),
}

_NGM_DEFAULT = {"lr": 1e-2, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9}
_TORCH_LR = {"lr": 1e-3}
"""Default learning rate of SGD and Adam in torch.optim."""

BUILT_IN = (
    Method(
        name="ngm-sgd",
        title="NGM-SGD",
        source="arXiv 2507.14056",
        space=_GAIN,
        configure=_configure_gain,
        locate=_locate_gain,
        build=builders.ngm_sgd,
        default=_NGM_DEFAULT,
        default_source="signature of ngm_tune.NGMSGD",
    ),
    Method(
        name="ngm-sgd-frozen-gain",
        title="NGM-SGD, gain frozen",
        source="ablation of arXiv 2507.14056: a constant gain",
        space={"lr": _SGD_LR, "baseline_gain": log_uniform(0.5, 5.0)},
        build=partial(builders.ngm_sgd, gain_sensitivity=0.0),
        ablation_of=("ngm-sgd",),
        default={"lr": 1e-2, "baseline_gain": 1.0},
        default_source="signature of ngm_tune.NGMSGD, with gain_sensitivity = 0",
    ),
    Method(
        name="ngm-sgd-mean-entropy",
        title="NGM-SGD, mean entropy",
        source="ablation of arXiv 2507.14056: the gain follows the mean of all entropies so far",
        space=_GAIN,
        configure=_configure_gain,
        locate=_locate_gain,
        build=builders.mean_entropy,
        ablation_of=("ngm-sgd",),
        default=_NGM_DEFAULT,
        default_source="signature of ngm_tune.NGMSGD",
    ),
    Method(
        name="ngm-sgd-output",
        title="NGM-SGD, output layer",
        source="ablation of arXiv 2507.14056: a gain on the output layer only",
        space=_GAIN,
        configure=_configure_gain,
        locate=_locate_gain,
        build=partial(builders.ngm_sgd, layers="output"),
        ablation_of=("ngm-sgd",),
        default=_NGM_DEFAULT,
        default_source="signature of ngm_tune.NGMSGD",
    ),
    Method(
        name="gain-decoy",
        title="SGD, decoy gain",
        source="control: the delayed gain of another run of NGM-SGD",
        space=_GAIN,
        configure=_configure_gain,
        locate=_locate_gain,
        build=builders.gain_decoy,
        ablation_of=("ngm-sgd",),
        default=_NGM_DEFAULT,
        default_source="signature of ngm_tune.NGMSGD",
    ),
    Method(
        name="entropy-lr",
        title="SGD, entropy-driven learning rate",
        source="control: the gain of arXiv 2507.14056 multiplies the learning rate only",
        space=_GAIN,
        configure=_configure_gain,
        locate=_locate_gain,
        build=builders.entropy_lr,
        ablation_of=("ngm-sgd",),
        default=_NGM_DEFAULT,
        default_source="signature of ngm_tune.NGMSGD",
    ),
    Method(
        name="temperature",
        title="SGD, fixed temperature",
        source="control: the logits are multiplied by a constant",
        space={"lr": _SGD_LR, "inverse_temperature": log_uniform(0.2, 50.0)},
        build=builders.temperature,
        ablation_of=("ngm-sgd-output",),
    ),
    Method(
        name="sgd",
        title="SGD",
        source="Robbins and Monro 1951",
        space={"lr": _SGD_LR},
        build=builders.sgd,
        ablation_of=("ngm-sgd", "temperature", "ema", "gem-joint", "ewc", "si", "er"),
        default=_TORCH_LR,
        default_source="signature of torch.optim.SGD",
    ),
    Method(
        name="momentum-sgd",
        title="SGD with momentum 0.9",
        source="Polyak 1964",
        space={"lr": _MOMENTUM_LR},
        build=builders.momentum_sgd,
        ablation_of=("sam", "warmup-oracle", "momentum-reset-oracle"),
        default=_TORCH_LR,
        default_source="signature of torch.optim.SGD",
    ),
    Method(
        name="nesterov",
        title="Nesterov momentum 0.9",
        source="Sutskever et al. 2013",
        space={"lr": _MOMENTUM_LR},
        build=builders.nesterov,
        default=_TORCH_LR,
        default_source="signature of torch.optim.SGD",
    ),
    Method(
        name="adam",
        title="Adam",
        source="arXiv 1412.6980",
        space={"lr": _ADAM_LR},
        build=builders.adam,
        ablation_of=("adamw",),
        default=_TORCH_LR,
        default_source="signature of torch.optim.Adam",
    ),
    Method(
        name="adamw",
        title="AdamW",
        source="arXiv 1711.05101",
        space={"lr": _ADAM_LR, "weight_decay": log_uniform(1e-5, 1e-1)},
        build=builders.adamw,
        default={"lr": 1e-3, "weight_decay": 1e-2},
        default_source="signature of torch.optim.AdamW",
    ),
    Method(
        name="sam",
        title="SAM with momentum 0.9",
        source="arXiv 2010.01412",
        space={"lr": _MOMENTUM_LR, "radius": log_uniform(0.005, 0.5)},
        build=builders.sam,
        default={"lr": 1e-3, "radius": 0.05},
        default_source="signature of torch.optim.SGD; radius of arXiv 2010.01412",
    ),
    Method(
        name="ema",
        title="SGD, averaged weights",
        source="arXiv 2306.16817",
        space={"lr": _SGD_LR, "renewal": log_uniform(0.001, 0.3)},
        configure=_configure_average,
        locate=_locate_average,
        build=builders.ema,
        default={"lr": 1e-3, "decay": 0.999},
        default_source="signatures of torch.optim.SGD and torch.optim.swa_utils.get_ema_avg_fn",
    ),
    Method(
        name="gem-joint",
        title="SGD, projected gradient (joint + GEM)",
        source="arXiv 2311.04898, with the projection of arXiv 1706.08840",
        space={"lr": _SGD_LR},
        build=builders.gem_joint,
        task_aware=True,
        default=_TORCH_LR,
        default_source="signature of torch.optim.SGD",
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
        source="oracle: momentum reset at each known transition (arXiv 2507.14056, v3)",
        space={"lr": _MOMENTUM_LR},
        build=builders.momentum_reset_oracle,
        task_aware=True,
        default=_TORCH_LR,
        default_source="signature of torch.optim.SGD",
    ),
    Method(
        name="ewc",
        title="EWC",
        source="arXiv 1612.00796",
        space={"lr": _SGD_LR, "pull": log_uniform(1e-3, 10.0)},
        configure=_configure_penalty,
        locate=_locate_penalty,
        build=builders.ewc,
        task_aware=True,
    ),
    Method(
        name="si",
        title="SI",
        source="arXiv 1703.04200",
        space={"lr": _SGD_LR, "pull": log_uniform(1e-3, 10.0)},
        configure=_configure_penalty,
        locate=_locate_penalty,
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
        default=_TORCH_LR,
        default_source="signature of torch.optim.SGD",
    ),
)
