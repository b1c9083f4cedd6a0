"""Default search spaces of optimizers that studies name by their library.

Each range says where it comes from: a paper, the documentation of a library, or a built-in method
whose steps have the same size.
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

    @property
    def source(self) -> str:
        """The paper, and the source of the ranges."""
        return f"{self.paper}; ranges: {self.ranges}"


_MUON = "lr: around the defaults of torch (1e-3) and of the authors (0.02); adamw_lr: that of adamw"
_BETA = CategoricalDistribution((0.9, 0.95, 0.98))

NAMED_SPACES: Mapping[str, NamedSpace] = {
    "torch:Adagrad": NamedSpace(
        "Duchi et al., JMLR 2011",
        "tuning distribution of arXiv 2007.01547",
        {"lr": log_uniform(1e-4, 1.0)},
    ),
    "torch:RMSprop": NamedSpace(
        "Tieleman and Hinton 2012",
        "that of adam, which has the same scale of steps",
        {"lr": log_uniform(1e-4, 1e-1)},
    ),
    "torch:NAdam": NamedSpace(
        "Dozat 2016",
        "that of adam, to which it adds Nesterov momentum",
        {"lr": log_uniform(1e-4, 1e-1)},
    ),
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
        _MUON,
        {"lr": log_uniform(5e-4, 2e-1), "adamw_lr": log_uniform(1e-4, 1e-1)},
    ),
    "pytorch_optimizer:Muon": NamedSpace(
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon",
        _MUON,
        {"lr": log_uniform(5e-4, 2e-1), "adamw_lr": log_uniform(1e-4, 1e-1)},
    ),
    "pytorch_optimizer:Lion": NamedSpace(
        "arXiv 2302.06675",
        "section 5: learning rates 3 to 10 times lower than those of AdamW",
        {"lr": log_uniform(1e-5, 3e-2)},
    ),
    "pytorch_optimizer:SOAP": NamedSpace(
        "arXiv 2409.11321",
        "that of adam, which SOAP runs in the eigenbasis of Shampoo's preconditioner",
        {"lr": log_uniform(1e-4, 1e-1)},
    ),
    "pytorch_optimizer:Prodigy": NamedSpace(
        "arXiv 2306.06101",
        "documentation of prodigyopt: lr = 1 for all networks, d_coef from 0.1 to 10",
        {"d_coef": log_uniform(0.1, 10.0)},
    ),
    "pytorch_optimizer:ScheduleFreeSGD": NamedSpace(
        "arXiv 2405.15682",
        "documentation of schedulefree: lr 10 times that of sgd or more, momentum 0.9 to 0.98",
        {"lr": log_uniform(1e-2, 10.0), "momentum": _BETA},
    ),
    "pytorch_optimizer:ScheduleFreeAdamW": NamedSpace(
        "arXiv 2405.15682",
        "documentation of schedulefree: lr 1 to 10 times that of adamw, beta1 0.9 to 0.98",
        {"lr": log_uniform(1e-4, 1.0), "beta1": _BETA},
    ),
    "pytorch_optimizer:Lamb": NamedSpace(
        "arXiv 1904.00962",
        "that of adam, whose direction each layer takes; the paper tunes the learning rate only",
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
