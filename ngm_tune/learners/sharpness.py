"""Sharpness-aware minimisation (Foret et al., ICLR 2021, arXiv 2010.01412)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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
        step = self.backward(batch)

        def again() -> float:
            with _frozen_statistics(self.model):
                return float(self.backward(batch).loss)

        self.optimizer.step(again)
        return step


@contextmanager
def _frozen_statistics(model: nn.Module) -> Iterator[None]:
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
