"""Controls of NGM-SGD, each of which changes one part of its mechanism.

Each control keeps the dynamics of the gain, ``g_{t+1} = gamma g_t + (1 - gamma) g_0 + eta H_t``. It
changes the input of the dynamics, the time at which the gain acts, or the quantity that the gain
multiplies.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ngm_tune.learners.learner import Batch, Learner, Step
from ngm_tune.optim import NGMSGD
from ngm_tune.optim.dynamics import check_dynamics, next_gain


class EntropyLearningRate(Learner):
    """SGD with a gain that multiplies the learning rate instead of the weights.

    Args:
        model: The network.
        lr: Base learning rate. Iteration t uses ``g_t ** exponent * lr``.
        gain_sensitivity: eta.
        entropy_smoothing: gamma.
        baseline_gain: g_0. The network itself has no gain.
        exponent: Exponent of the gain. With 2, the learning rate equals the effective learning rate
            of NGM-SGD, ``g_t ** 2 * lr``.
        **settings: Other arguments of :class:`ngm_tune.NGMSGD`, e.g. ``backbone_momentum``.

    Raises:
        ValueError: A setting is out of range.
    """

    optimizer: NGMSGD

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        gain_sensitivity: float,
        entropy_smoothing: float,
        baseline_gain: float = 1.0,
        exponent: float = 1.0,
        **settings: Any,
    ) -> None:
        check_dynamics(gain_sensitivity, entropy_smoothing, baseline_gain)
        super().__init__(model, NGMSGD(model, lr=lr, gain_sensitivity=0.0, **settings))
        self._lr = lr
        self._exponent = exponent
        self._dynamics = {"sensitivity": gain_sensitivity, "smoothing": entropy_smoothing}
        self._baseline = torch.full_like(self.optimizer.gain, baseline_gain)
        self._value = self._next = self._baseline

    @property
    def gain(self) -> Tensor:
        """g_t of the latest step, a scalar."""
        return self._value

    def learn(self, batch: Batch) -> Step:
        """Do one step with ``g_t ** exponent * lr``, and compute g_{t+1} from its entropy."""
        self._value = self._next
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr * float(self._value) ** self._exponent
        step = super().learn(batch)
        entropy = self.optimizer.modulation.observer.entropies(step.logits).mean()
        self._next = next_gain(self._value, entropy, baseline=self._baseline, **self._dynamics)
        return step

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner: tensors and plain Python values."""
        return {**super().state_dict(), "value": self._value, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._value, self._next = state["value"], state["next"]


class MeanEntropy(Learner):
    """NGM-SGD with a gain that follows the mean entropy of all batches so far.

    The gain keeps its long-term level but does not respond to transitions.

    Args:
        model: The network.
        **settings: Arguments of :class:`ngm_tune.NGMSGD`.
    """

    optimizer: NGMSGD

    def __init__(self, model: nn.Module, **settings: Any) -> None:
        super().__init__(model, NGMSGD(model, **settings))
        self._sum = torch.zeros((), device=self.optimizer.gain.device)
        self._steps = 0

    def learn(self, batch: Batch) -> Step:
        """Do one step, and compute g_{t+1} from the mean entropy of all batches so far."""
        step = super().learn(batch)
        modulation = self.optimizer.modulation
        self._sum = self._sum + modulation.observer.entropies(step.logits).mean()
        self._steps += 1
        modulation.override(modulation.compute_next(self._sum / self._steps))
        return step

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner: tensors and plain Python values."""
        return {**super().state_dict(), "sum": self._sum, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._sum, self._steps = state["sum"], state["steps"]


class GainDecoy(Learner):
    """SGD with the delayed gain of a reference run: equal amplitudes, wrong times.

    The reference run trains a copy of the network with NGM-SGD on the same batches. Its gain of
    iteration t acts here in iteration ``t + delay``. In the first ``delay`` iterations the gain is
    at its baseline.

    Args:
        model: The network.
        delay: Delay of the gain in iterations, at least 0.
        **settings: Arguments of :class:`ngm_tune.NGMSGD`.

    Raises:
        ValueError: A setting is out of range.
    """

    optimizer: NGMSGD

    def __init__(self, model: nn.Module, delay: int, **settings: Any) -> None:
        if delay < 0:
            raise ValueError(f"Invalid delay: {delay} (must be >= 0)")
        copy = deepcopy(model)
        self._recorder = NGMSGD(copy, **settings)
        self._reference = Learner(copy, self._recorder)
        super().__init__(model, NGMSGD(model, **{**settings, "gain_sensitivity": 0.0}))
        self._delay = delay
        self._baseline = self.optimizer.gain
        self._trace: deque[Tensor] = deque()

    def learn(self, batch: Batch) -> Step:
        """Do one step of the reference run and one of this run."""
        self._reference.model.train()
        self._reference.learn(batch)
        self._trace.append(self._recorder.gain)
        delayed = len(self._trace) > self._delay
        self.optimizer.modulation.override(self._trace.popleft() if delayed else self._baseline)
        return super().learn(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner: tensors and plain Python values."""
        return {
            **super().state_dict(),
            "other": self._reference.state_dict(),
            "trace": torch.stack(list(self._trace)) if self._trace else torch.empty(0),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._reference.load_state_dict(state["other"])
        self._trace = deque(state["trace"].unbind())
