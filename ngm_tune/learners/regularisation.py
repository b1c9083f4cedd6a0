"""Quadratic penalties on changes of important weights: EWC and SI."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.optim import Optimizer

from ngm_tune.learners.learner import Batch, Draw, Learner, Step

_FISHER_CHUNK = 32
"""Number of per-example gradients in memory at once."""


class ElasticWeightConsolidation(Learner):
    """EWC (Kirkpatrick et al., PNAS 2017, arXiv 1612.00796, eq. 3).

    Adds ``strength/2 * sum_k sum_i F_ki (theta_i - theta_ki)^2`` to the loss. theta_k are the
    parameters at the end of task k, and F_k is the diagonal of their Fisher information. The sum
    over tasks is stored as one quadratic, so memory does not grow with the number of tasks.

    Args:
        model: The network.
        optimizer: Optimizer of the network's parameters.
        strength: lambda >= 0.
        fisher_examples: Number of examples on which the Fisher information is estimated at the end
            of a task. They are drawn from the batches of the task, which in joint training hold
            examples of all tasks so far.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        strength: float,
        fisher_examples: int = 1000,
    ) -> None:
        _check_strength(strength)
        if fisher_examples < 1:
            raise ValueError(f"Invalid number of Fisher examples: {fisher_examples} (must be >= 1)")
        super().__init__(model, optimizer)
        self._strength = strength
        self._fisher_examples = fisher_examples
        self._fisher: dict[str, Tensor] = {}
        """sum_k F_k by parameter name; empty before the first task ends."""
        self._anchor: dict[str, Tensor] = {}
        """sum_k F_k theta_k / sum_k F_k by parameter name: the minimum of the penalty."""

    def penalty(self) -> Tensor | None:
        """Return the penalty in nats, up to a constant; None in the first task."""
        if not self._fisher:
            return None
        parameters = dict(self.model.named_parameters())
        terms = [
            (fisher * (parameters[name] - self._anchor[name]).square()).sum()
            for name, fisher in self._fisher.items()
        ]
        return 0.5 * self._strength * torch.stack(terms).sum()

    def end_task(self, task: int, draw: Draw) -> None:
        """Add the quadratic penalty of the task."""
        fisher = fisher_diagonal(self.model, draw(self._fisher_examples).inputs)
        for name, parameter in self.model.named_parameters():
            if name not in fisher:
                continue
            value = parameter.detach().clone()
            before = self._fisher.get(name, torch.zeros_like(value))
            total = before + fisher[name]
            mean = (before * self._anchor.get(name, value) + fisher[name] * value) / total
            self._fisher[name] = total
            self._anchor[name] = torch.where(total > 0, mean, value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner: tensors and plain Python values."""
        return {**super().state_dict(), "fisher": self._fisher, "anchor": self._anchor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._fisher, self._anchor = state["fisher"], state["anchor"]


def fisher_diagonal(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Estimate the diagonal of the Fisher information of a model's predictions.

    The Fisher information is the mean over examples of ``sum_c p_c (d log p_c / d theta)^2``. The
    sum over classes is estimated with one class per example, which is drawn from the model's
    predictive distribution with torch's global generator.

    Args:
        model: The network. It is evaluated in evaluation mode, and its mode is restored.
        inputs: Inputs of the network, shape (N, ...).

    Returns:
        A tensor of the shape of each parameter that requires gradients, by name.
    """
    mode = model.training
    model.eval()
    parameters = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}

    def log_likelihood(values: dict[str, Tensor], example: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, values, (example.unsqueeze(0),))
        return -F.cross_entropy(logits, label.unsqueeze(0))

    gradients = vmap(grad(log_likelihood), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for part in torch.split(inputs, _FISHER_CHUNK):
        with torch.no_grad():
            drawn = torch.multinomial(model(part).softmax(dim=1), 1).squeeze(1)
        for name, values in gradients(parameters, part, drawn).items():
            total[name] += values.square().sum(dim=0)
    model.train(mode)
    return {name: value / len(inputs) for name, value in total.items()}


def _check_strength(strength: float) -> None:
    if not 0.0 <= strength < math.inf:
        raise ValueError(f"Invalid strength: {strength} (must be finite and >= 0)")


class SynapticIntelligence(Learner):
    """SI (Zenke, Poole and Ganguli, ICML 2017, arXiv 1703.04200, eq. 4 and 5).

    Adds ``strength * sum_i Omega_i (theta_i - theta*_i)^2`` to the loss. theta* are the parameters
    at the end of the last task. Omega_i is the decrease of the loss that is attributed to parameter
    i, divided by the square of its displacement. Negative contributions of a task to Omega_i are
    clamped to zero, as is usual: with noisy gradients the loss can appear to increase along a
    parameter's path, and a negative Omega_i would repel the parameter.

    Args:
        model: The network.
        optimizer: Optimizer of the network's parameters.
        strength: c >= 0.
        damping: xi > 0, which bounds Omega for parameters with a small displacement.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, strength: float, damping: float = 0.1
    ) -> None:
        _check_strength(strength)
        if not 0.0 < damping < math.inf:
            raise ValueError(f"Invalid damping: {damping} (must be finite and > 0)")
        super().__init__(model, optimizer)
        self._strength = strength
        self._damping = damping
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        zeros = [torch.zeros_like(p) for p in self._parameters]
        self._importance, self._path = zeros, [zero.clone() for zero in zeros]
        self._reference = [p.detach().clone() for p in self._parameters]

    def learn(self, batch: Batch) -> Step:
        """Do one step and attribute the decrease of the loss to the parameters."""
        step = super().backward(batch)
        # The path integral excludes the gradient of the penalty.
        gradients = [
            p.grad - 2 * self._strength * omega * (p.detach() - reference)
            if p.grad is not None
            else torch.zeros_like(p)
            for p, omega, reference in zip(
                self._parameters, self._importance, self._reference, strict=True
            )
        ]
        before = [p.detach().clone() for p in self._parameters]
        self.optimizer.step()
        for path, gradient, p, old in zip(
            self._path, gradients, self._parameters, before, strict=True
        ):
            path.sub_(gradient * (p.detach() - old))
        return step

    def penalty(self) -> Tensor | None:
        """Return the penalty in nats."""
        terms = [
            (omega * (p - reference).square()).sum()
            for p, omega, reference in zip(
                self._parameters, self._importance, self._reference, strict=True
            )
        ]
        return self._strength * torch.stack(terms).sum()

    def end_task(self, task: int, draw: Draw) -> None:
        """Add the task's path integrals to the importance, and reset them."""
        for i, p in enumerate(self._parameters):
            moved = p.detach() - self._reference[i]
            increase = self._path[i] / (moved.square() + self._damping)
            self._importance[i] = self._importance[i] + increase.clamp(min=0.0)
            self._path[i] = torch.zeros_like(p)
            self._reference[i] = p.detach().clone()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner: tensors and plain Python values."""
        return {
            **super().state_dict(),
            "importance": self._importance,
            "path": self._path,
            "reference": self._reference,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._importance = state["importance"]
        self._path = state["path"]
        self._reference = state["reference"]
