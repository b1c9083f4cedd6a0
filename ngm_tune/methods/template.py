"""A method of my own.

ngm-tune check-method FILE                 check it against the rules that every method keeps
ngm-tune run my-study.toml --methods FILE  compare it; the study names it in `methods`
"""

from __future__ import annotations

from typing import Any

import torch
from optuna.distributions import FloatDistribution
from torch import nn
from torch.optim import Optimizer

from ngm_tune.methods import Method


class MyOptimizer(Optimizer):
    """SGD with momentum, as a start: replace the update in `step` by your own.

    You can also delete this class and build any optimizer of torch or of another package.
    """

    def __init__(self, params: Any, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the parameters once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                # Keep everything that training changes in self.state: it is part of the
                # checkpoints from which an interrupted trial continues.
                state = self.state[param]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(param)
                velocity = state["velocity"]
                velocity.mul_(group["momentum"]).add_(param.grad)
                param.sub_(velocity, alpha=group["lr"])
        return loss


def build(model: nn.Module, lr: float, momentum: float) -> Optimizer:
    """Return the optimizer of a model; the other arguments are the hyper-parameters."""
    return MyOptimizer(model.parameters(), lr=lr, momentum=momentum)


my_method = Method(
    name="my-method",  # in studies and results: letters, digits, _ and -
    title="My method",  # in tables and charts
    source="this file",  # the paper that describes the method
    # Choose ranges as wide as those of the rivals, which `ngm-tune methods` lists. A range that
    # lacks the best values, or is needlessly wide, handicaps your method.
    space={
        "lr": FloatDistribution(1e-3, 1.0, log=True),
        "momentum": FloatDistribution(0.0, 0.99),
    },
    build=build,
)
