"""Default search spaces of optimizers that studies name by their library.

Each range says where it comes from. Where a paper and a library recommend no range, it reaches a
decade to each side of the library's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ngm_tune.methods.method import log_uniform


class NamedSpace(NamedTuple):
    """The search space of an optimizer.

    Attributes:
        paper: The paper that describes the optimizer.
        ranges: Where the ranges come from.
        space: Distributions of its hyper-parameters.
    """

    paper: str
    ranges: str
    space: Mapping[str, BaseDistribution]


_DECADE = "a decade to each side of the default"
_BETA = CategoricalDistribution((0.9, 0.95, 0.98))

NAMED_SPACES: Mapping[str, NamedSpace] = {
    "torch:Adagrad": NamedSpace(
        "Duchi et al., JMLR 2011", _DECADE, {"lr": log_uniform(1e-3, 1e-1)}
    ),
    "torch:RMSprop": NamedSpace(
        "Tieleman and Hinton 2012",
        "that of adam, which has the same scale of steps",
        {"lr": log_uniform(1e-4, 1e-1)},
    ),
    "torch:NAdam": NamedSpace("Dozat 2016", _DECADE, {"lr": log_uniform(2e-4, 2e-2)}),
    "torch:AdamW": NamedSpace(
        "arXiv 1711.05101",
        "that of adamw",
        {"lr": log_uniform(1e-4, 1e-1), "weight_decay": log_uniform(1e-5, 1e-1)},
    ),
    "torch:LBFGS": NamedSpace(
        "Liu and Nocedal 1989",
        "up to the defaults, a full step and 20 evaluations of each batch",
        {"lr": log_uniform(1e-2, 1.0), "max_iter": IntDistribution(1, 20, log=True)},
    ),
    "torch:Muon": NamedSpace(
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon",
        f"lr: the defaults of torch (1e-3) and of the authors (0.02); adamw_lr: {_DECADE}",
        {"lr": log_uniform(1e-3, 1e-1), "adamw_lr": log_uniform(3e-5, 3e-3)},
    ),
    "pytorch_optimizer:Muon": NamedSpace(
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon",
        _DECADE,
        {"lr": log_uniform(2e-3, 2e-1), "adamw_lr": log_uniform(3e-5, 3e-3)},
    ),
    "pytorch_optimizer:Lion": NamedSpace(
        "arXiv 2302.06675",
        "section 5: learning rates 3 to 10 times lower than those of AdamW",
        {"lr": log_uniform(1e-5, 3e-2)},
    ),
    "pytorch_optimizer:SOAP": NamedSpace(
        "arXiv 2409.11321", _DECADE, {"lr": log_uniform(3e-4, 3e-2)}
    ),
    "pytorch_optimizer:Prodigy": NamedSpace(
        "arXiv 2306.06101",
        "documentation of prodigyopt: lr = 1 for all networks, d_coef from 0.1 to 10",
        {"d_coef": log_uniform(0.1, 10.0)},
    ),
    "pytorch_optimizer:ScheduleFreeSGD": NamedSpace(
        "arXiv 2405.15682",
        f"lr: {_DECADE}; momentum: documentation of schedulefree",
        {"lr": log_uniform(0.1, 10.0), "momentum": _BETA},
    ),
    "pytorch_optimizer:ScheduleFreeAdamW": NamedSpace(
        "arXiv 2405.15682",
        f"lr: {_DECADE}; beta1: documentation of schedulefree",
        {"lr": log_uniform(2.5e-4, 2.5e-2), "beta1": _BETA},
    ),
    "pytorch_optimizer:Lamb": NamedSpace(
        "arXiv 1904.00962",
        f"{_DECADE}, and a decade more, as batches are small",
        {"lr": log_uniform(1e-4, 1e-1)},
    ),
    "pytorch_optimizer:Lookahead": NamedSpace(
        "arXiv 1907.08610",
        "lr: that of momentum-sgd, the inner optimizer; k and alpha: the paper's table for "
        "CIFAR-100",
        {
            "lr": log_uniform(1e-4, 1e-1),
            "k": CategoricalDistribution((5, 10)),
            "alpha": CategoricalDistribution((0.5, 0.8)),
        },
    ),
}
