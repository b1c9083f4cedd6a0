"""Methods that are told when a task begins, which in practice nobody tells: upper bounds."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ngm_tune.learners.learner import Batch, Learner, Step


class WarmUp(Learner):
    """Raises the learning rate linearly from near zero after every transition.

    The first task is trained at the full learning rate: nothing is there yet to be kept.

    Args:
        model: The network.
        optimizer: Whose learning rate is changed.
        iterations: Until the learning rate is the optimizer's own again.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, iterations: int) -> None:
        if iterations < 1:
            raise ValueError(f"Invalid warm-up: {iterations} iterations (must be >= 1)")
        super().__init__(model, optimizer)
        self._iterations = iterations
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._schedule: LambdaLR | None = None

    def begin_task(self, task: int) -> None:
        """Start again from near zero."""
        if task == 0:
            return
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = group["initial_lr"] = rate
        self._schedule = LambdaLR(self.optimizer, lambda n: min(1.0, (n + 1) / self._iterations))

    def learn(self, batch: Batch) -> Step:
        """A step at the present learning rate, which then rises."""
        step = super().learn(batch)
        if self._schedule is not None:
            self._schedule.step()
        return step


class MomentumReset(Learner):
    """Forgets the momentum of old tasks at every transition."""

    def begin_task(self, task: int) -> None:
        """Drop the optimizer's state, as if it were new."""
        self.optimizer.state.clear()
