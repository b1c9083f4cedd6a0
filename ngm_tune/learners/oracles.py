"""Oracles: methods that know when a task begins. They serve as upper bounds."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ngm_tune.learners.learner import Batch, Learner, Step


class WarmUp(Learner):
    """Warm up the learning rate linearly after every transition.

    The first task uses the full learning rate, because it has no earlier task to protect.

    Args:
        model: The network.
        optimizer: Optimizer of the network's parameters.
        iterations: Length of the warm-up. Its n-th iteration uses ``n / iterations`` of the
            optimizer's learning rate.

    Raises:
        ValueError: ``iterations`` is less than 1.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, iterations: int) -> None:
        if iterations < 1:
            raise ValueError(f"Invalid warm-up: {iterations} iterations (must be >= 1)")
        super().__init__(model, optimizer)
        self._iterations = iterations
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._schedule: LambdaLR | None = None

    def begin_task(self, task: int) -> None:
        """Restart the warm-up, except in the first task."""
        if task == 0:
            return
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = group["initial_lr"] = rate
        self._schedule = LambdaLR(self.optimizer, lambda n: min(1.0, (n + 1) / self._iterations))

    def learn(self, batch: Batch) -> Step:
        """Do one step and increase the learning rate."""
        step = super().learn(batch)
        if self._schedule is not None:
            self._schedule.step()
        return step


class MomentumReset(Learner):
    """Reset the optimizer's state, e.g. its momentum, at every transition."""

    def begin_task(self, task: int) -> None:
        """Clear the optimizer's state."""
        self.optimizer.state.clear()
