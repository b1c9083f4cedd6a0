"""Steps of optimizers that need more than a gradient."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ngm_tune.learners.learner import Batch, Learner, Step


class ClosureStep(Learner):
    """An optimizer that evaluates the loss of a batch itself, such as L-BFGS.

    ``step`` may evaluate the loss several times; the run records the first evaluation.
    """

    def learn(self, batch: Batch) -> Step:
        """Do one step on the batch."""
        evaluations: list[Step] = []

        def closure() -> Tensor:
            with torch.enable_grad():  # AliG calls it without
                step = self.backward(batch)
            evaluations.append(step)
            return step.loss

        self.optimizer.step(closure)  # type: ignore[arg-type]
        return evaluations[0]


class CurvatureStep(Learner):
    """An optimizer that differentiates the gradient, such as AdaHessian."""

    def backward(self, batch: Batch) -> Step:
        """Compute the gradients of the batch's loss, which can be differentiated again."""
        logits = self.model(batch.inputs)
        loss = F.cross_entropy(logits, batch.labels)
        self.optimizer.zero_grad()
        loss.backward(create_graph=True)  # type: ignore[no-untyped-call]
        return Step(loss.detach(), logits.detach())

    def learn(self, batch: Batch) -> Step:
        """Do one step, and release the graph of the gradients."""
        step = super().learn(batch)
        self.optimizer.zero_grad()
        return step


class SlowWeights(Learner):
    """Lookahead, which returns its slow weights (Zhang et al. 2019, algorithm 1).

    The trained weights are the fast ones.

    Args:
        model: The network.
        optimizer: Lookahead of pytorch-optimizer, whose state has ``slow_params``.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        super().__init__(model, optimizer)
        self._slow = deepcopy(model)

    @property
    def evaluated(self) -> nn.Module:
        """The model with the slow weights, and the buffers of the trained model."""
        with torch.no_grad():
            for slow, fast in zip(self._slow.parameters(), self.model.parameters(), strict=True):
                slow.copy_(self.optimizer.state[fast].get("slow_params", fast))
            for kept, buffer in zip(self._slow.buffers(), self.model.buffers(), strict=True):
                kept.copy_(buffer)
        return self._slow


class WithAdamW(Learner):
    """An optimizer of matrices, with AdamW for all other parameters.

    Args:
        model: The network.
        optimizer: Optimizer of some parameters.
        others: AdamW with the other parameters; None if there are none.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, others: AdamW | None) -> None:
        super().__init__(model, optimizer)
        self._others = others

    def learn(self, batch: Batch) -> Step:
        """Do one step of both optimizers."""
        if self._others is not None:
            self._others.zero_grad()
        step = super().learn(batch)
        if self._others is not None:
            self._others.step()
        return step

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both optimizers and the model."""
        others = None if self._others is None else self._others.state_dict()
        return {**super().state_dict(), "others": others}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        if self._others is not None:
            self._others.load_state_dict(state["others"])


def split_for_muon(model: nn.Module, is_matrix: Callable[[Tensor], bool]) -> _Parts:
    """Return the hidden weight matrices of a network, and its other parameters.

    Muon is for the weights of hidden layers; biases, gains of normalisation and the output layer
    are for AdamW (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks").

    Args:
        model: The network. The linear or convolutional layer registered last is its output layer.
        is_matrix: Whether a parameter has a shape that the optimizer takes.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    output = {id(layers[-1].weight)} if len(layers) > 1 else set()
    parameters = [p for p in model.parameters() if p.requires_grad]
    hidden = [p for p in parameters if is_matrix(p) and id(p) not in output]
    chosen = {id(p) for p in hidden}
    return hidden, [p for p in parameters if id(p) not in chosen]


_Parts = tuple[list[nn.Parameter], list[nn.Parameter]]
