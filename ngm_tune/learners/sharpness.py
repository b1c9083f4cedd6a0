"""Sharpness-aware minimisation (Foret et al., ICLR 2021, arXiv 2010.01412)."""

from __future__ import annotations

from torch import nn

from ngm_tune.learners.learner import Batch, Learner, Step


class SharpnessAware(Learner):
    """SGD with the gradient at the worst point in a ball around the weights.

    A step costs two forward and backward passes. The second pass does not update the running
    statistics of batch normalisation, because its weights are never evaluated.

    Args:
        model: The network.
        lr: Learning rate.
        radius: rho, the radius of the ball.
        momentum: Momentum of SGD; 0.9 in the paper.
    """

    def __init__(self, model: nn.Module, lr: float, radius: float, momentum: float = 0.9) -> None:
        from pytorch_optimizer import SAM  # slow to import
        from torch.optim import SGD

        super().__init__(model, SAM(model.parameters(), SGD, rho=radius, lr=lr, momentum=momentum))

    def learn(self, batch: Batch) -> Step:
        """Do one step of two passes, and return the loss and logits of the first pass."""
        from pytorch_optimizer import (  # type: ignore[attr-defined]
            disable_running_stats,
            enable_running_stats,
        )

        step = self.backward(batch)

        def second_pass() -> float:
            disable_running_stats(self.model)
            try:
                return float(self.backward(batch).loss)
            finally:
                enable_running_stats(self.model)

        self.optimizer.step(second_pass)
        return step
