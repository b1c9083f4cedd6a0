"""Penalties on leaving the weights that old tasks rely on: EWC and SI."""

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
"""Examples whose gradients are held at once."""


class ElasticWeightConsolidation(Learner):
    """EWC (Kirkpatrick et al., PNAS 2017, arXiv 1612.00796, eq. 3).

    Adds ``strength/2 * sum_k sum_i F_ki (theta_i - theta_ki)^2``, with theta_k the parameters at
    the end of task k and F_k the diagonal of their Fisher information there. The sum over tasks is
    kept as one quadratic, so memory does not grow with their number.

    Args:
        model: The network.
        optimizer: Of its parameters.
        strength: lambda.
        fisher_examples: Examples that a task's Fisher information is estimated on, drawn as its
            batches were: in joint training from all tasks up to it.
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
        """sum_k F_k, by parameter; empty before the first task ends."""
        self._anchor: dict[str, Tensor] = {}
        """sum_k F_k theta_k / sum_k F_k: where the sum of the penalties is smallest."""

    def penalty(self) -> Tensor | None:
        """The penalty, but for a constant, in nats."""
        if not self._fisher:
            return None
        parameters = dict(self.model.named_parameters())
        terms = [
            (fisher * (parameters[name] - self._anchor[name]).square()).sum()
            for name, fisher in self._fisher.items()
        ]
        return 0.5 * self._strength * torch.stack(terms).sum()

    def end_task(self, task: int, draw: Draw) -> None:
        """Add the task's quadratic."""
        found = fisher_diagonal(self.model, draw(self._fisher_examples).inputs)
        for name, parameter in self.model.named_parameters():
            if name not in found:
                continue
            here = parameter.detach().clone()
            before = self._fisher.get(name, torch.zeros_like(here))
            total = before + found[name]
            mean = (before * self._anchor.get(name, here) + found[name] * here) / total
            self._fisher[name] = total
            self._anchor[name] = torch.where(total > 0, mean, here)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {**super().state_dict(), "fisher": self._fisher, "anchor": self._anchor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._fisher, self._anchor = state["fisher"], state["anchor"]


def fisher_diagonal(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Diagonal of the Fisher information of a model's predictions.

    The mean over examples of ``sum_c p_c (d log p_c / d theta)^2``, whose expectation over the
    model's own classes is taken by drawing one class per example from torch's global random state.

    Args:
        model: Evaluated as it is in evaluation.
        inputs: Shape (N, ...).

    Returns:
        Shape of each parameter that requires a gradient, by name.
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

    Adds ``strength * sum_i Omega_i (theta_i - theta*_i)^2``, with theta* the parameters at the end
    of the last task and Omega_i how much of the loss's fall each parameter was responsible for, per
    squared distance it went. What a task would take off Omega_i is left out, as is usual: with
    noisy gradients the loss can seem to rise along a parameter's path, and a negative Omega_i would
    drive it away.

    Args:
        model: The network.
        optimizer: Of its parameters.
        strength: c.
        damping: xi, which keeps Omega finite for parameters that hardly moved.
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
        """A step, whose share in the fall of the loss is credited to each parameter."""
        step = super().backward(batch)
        # The path integral is that of the loss alone.
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
        """The penalty."""
        terms = [
            (omega * (p - reference).square()).sum()
            for p, omega, reference in zip(
                self._parameters, self._importance, self._reference, strict=True
            )
        ]
        return self._strength * torch.stack(terms).sum()

    def end_task(self, task: int, draw: Draw) -> None:
        """Turn the task's path integrals into importance, and start anew."""
        for i, p in enumerate(self._parameters):
            moved = p.detach() - self._reference[i]
            gained = self._path[i] / (moved.square() + self._damping)
            self._importance[i] = self._importance[i] + gained.clamp(min=0.0)
            self._path[i] = torch.zeros_like(p)
            self._reference[i] = p.detach().clone()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            **super().state_dict(),
            "importance": self._importance,
            "path": self._path,
            "reference": self._reference,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._importance = state["importance"]
        self._path = state["path"]
        self._reference = state["reference"]
