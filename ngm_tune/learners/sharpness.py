"""Sharpness-aware minimisation (Foret et al., ICLR 2021, arXiv 2010.01412)."""

from __future__ import annotations

from torch import nn

from ngm_tune.learners.learner import Batch, Learner, Step


class SharpnessAware(Learner):
    """SGD along the gradient found at the worst point within a radius of the weights.

    A step costs two passes. The second leaves the running statistics of batch normalisation alone,
    as its weights are not those that will be evaluated.

    Args:
        model: The network.
        lr: Learning rate.
        radius: rho, the distance within which the worst point is sought.
        momentum: Of SGD; the paper's is 0.9.
    """

    def __init__(self, model: nn.Module, lr: float, radius: float, momentum: float = 0.9) -> None:
        from pytorch_optimizer import SAM  # slow to import
        from torch.optim import SGD

        super().__init__(model, SAM(model.parameters(), SGD, rho=radius, lr=lr, momentum=momentum))

    def learn(self, batch: Batch) -> Step:
        """Two passes and a step."""
        from pytorch_optimizer import (  # type: ignore[attr-defined]
            disable_running_stats,
            enable_running_stats,
        )

        step = self.backward(batch)

        def again() -> float:
            disable_running_stats(self.model)
            try:
                return float(self.backward(batch).loss)
            finally:
                enable_running_stats(self.model)

        self.optimizer.step(again)
        return step
