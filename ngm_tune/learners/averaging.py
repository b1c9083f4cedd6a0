"""Evaluation with averaged weights (Soutif-Cormerais et al. 2023, arXiv 2306.16817)."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ngm_tune.learners.learner import Batch, Learner, Step
from ngm_tune.optim.gain import attached_gains


class ExponentialAverage(Learner):
    """Train with an optimizer and evaluate an exponential moving average of the weights.

    Args:
        model: The network.
        optimizer: Optimizer of the network's parameters.
        decay: Weight of the previous average in each update, in [0, 1).

    Raises:
        ValueError: ``decay`` is out of range.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"Invalid decay: {decay} (must be in [0, 1))")
        super().__init__(model, optimizer)
        # Average the buffers too: running statistics must match the averaged weights.
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
        self._gains = attached_gains(model)

    @property
    def evaluated(self) -> nn.Module:
        """The model with the averaged weights."""
        return self._average

    def learn(self, batch: Batch) -> Step:
        """Do one training step and update the average."""
        step = super().learn(batch)
        self._average.update_parameters(self.model)
        self._share_gain()
        return step

    def _share_gain(self) -> None:
        """Set the gain of the averaged model, which is not among its weights."""
        for gain in self._gains:
            gain.copy_to(self._average)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner: tensors and plain Python values."""
        return {**super().state_dict(), "average": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._average.load_state_dict(state["average"])
        self._share_gain()
