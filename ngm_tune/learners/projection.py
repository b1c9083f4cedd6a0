"""Gradient projection in joint training (Hess et al. 2023, arXiv 2311.04898)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from ngm_tune.learners.learner import Batch, Learner, Step


class GradientProjection(Learner):
    """Joint training with gradient projection (joint + GEM).

    The gradient of the whole batch is projected onto the cone of vectors that have a non-negative
    inner product with the gradient of every old task, as in GEM (Lopez-Paz and Ranzato, NeurIPS
    2017, eq. 8 to 11). The gradient of an old task is computed from its examples in the batch. A
    task without examples in the batch adds no constraint.

    Args:
        model: The network.
        optimizer: Optimizer that applies the projected gradient.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        super().__init__(model, optimizer)
        self._task = 0

    def begin_task(self, task: int) -> None:
        """Make the tasks before ``task`` constraints."""
        self._task = task

    def backward(self, batch: Batch) -> Step:
        """Compute the projected gradient of the batch's loss."""
        logits = self.model(batch.inputs)
        losses = F.cross_entropy(logits, batch.labels, reduction="none")
        old = [batch.tasks == task for task in range(self._task)]
        old = [examples for examples in old if examples.any()]
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        constraints = [
            _flat_gradient(losses[examples].mean(), parameters, keep=True) for examples in old
        ]
        gradient = _flat_gradient(losses.mean(), parameters)
        if constraints:
            gradient = project(gradient, torch.stack(constraints))
        parts = torch.split(gradient, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        return Step(losses.detach().mean(), logits.detach())


def project(gradient: Tensor, constraints: Tensor) -> Tensor:
    """Project a gradient onto the cone of vectors with non-negative products with all constraints.

    Solves the dual of GEM's quadratic program, min_{v >= 0} |G^T v + g|, as a non-negative least
    squares problem with one unknown per constraint.

    Args:
        gradient: g, shape (P,).
        constraints: G, shape (k, P).

    Returns:
        g + G^T v, shape (P,). A non-finite gradient is returned unchanged.
    """
    from scipy.optimize import nnls

    products = constraints @ gradient
    if bool((products >= 0).all()) or not bool(products.isfinite().all()):
        return gradient  # no constraint is violated, or the run has diverged
    # In an orthonormal basis of the constraints' span the problem has k rows instead of P; v does
    # not affect the component outside that span.
    basis, triangle = torch.linalg.qr(constraints.T)
    weights: NDArray[np.float64]
    weights, _ = nnls(_numpy(triangle), _numpy(-(basis.T @ gradient)))
    return gradient + constraints.T @ torch.from_numpy(weights).to(gradient)


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()


def _flat_gradient(loss: Tensor, parameters: Sequence[Tensor], keep: bool = False) -> Tensor:
    parts = torch.autograd.grad(loss, parameters, retain_graph=keep, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])
