"""Evaluation with averaged weights (Soutif-Cormerais et al. 2023, arXiv 2306.16817)."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ngm_tune.learners.learner import Batch, Learner, Step
from ngm_tune.optim.gain import attached_gains


class ExponentialAverage(Learner):
    """Trains as the optimizer does, and is evaluated with an exponential average of its weights.

    Args:
        model: The network.
        optimizer: Of its parameters.
        decay: Share of the average kept from step to step, in [0, 1).
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"Invalid decay: {decay} (must be in [0, 1))")
        super().__init__(model, optimizer)
        # Buffers too: running statistics must fit the weights they are evaluated with.
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
        self._gains = attached_gains(model)

    @property
    def evaluated(self) -> nn.Module:
        """The model with averaged weights."""
        return self._average

    def learn(self, batch: Batch) -> Step:
        """A step, which the average then follows."""
        step = super().learn(batch)
        self._average.update_parameters(self.model)
        self._share_gain()
        return step

    def _share_gain(self) -> None:
        """The average computes with the gain of the model, which none of its weights is."""
        for gain in self._gains:
            gain.copy_to(self._average)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {**super().state_dict(), "average": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._average.load_state_dict(state["average"])
        self._share_gain()
