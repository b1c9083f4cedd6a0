"""Controls: what remains of NGM-SGD's effect when one part of its mechanism is taken away.

Each keeps the dynamics of the gain, ``g_{t+1} = gamma g_t + (1 - gamma) g_0 + eta H_t``, and
changes what it is driven by, when it acts, or what it acts on.
"""

from __future__ import annotations

import math
from collections import deque
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ngm_tune.learners.learner import Batch, Learner, Step
from ngm_tune.optim import NGMSGD
from ngm_tune.optim.dynamics import check_dynamics, next_gain
from ngm_tune.optim.gain import predictive_entropy


class EntropyLearningRate(Learner):
    """SGD whose learning rate, not whose network, is multiplied by the gain.

    Args:
        model: The network.
        lr: That of iteration t is ``g_t ** exponent * lr``.
        gain_sensitivity: eta.
        entropy_smoothing: gamma.
        baseline_gain: g_0, of the learning rate; the network has none.
        exponent: With 2 a step is as long as NGM-SGD's is by its effective weights, whose learning
            rate is ``g_t ** 2 * lr``.
        **settings: Other arguments of :class:`ngm_tune.NGMSGD`, such as the momentum of a backbone.
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
        self._dynamics = {
            "sensitivity": gain_sensitivity,
            "smoothing": entropy_smoothing,
            "baseline": baseline_gain,
        }
        self._value = self._next = torch.full_like(self.optimizer.gain, baseline_gain)

    @property
    def gain(self) -> Tensor:
        """g_t, of the latest step."""
        return self._value

    def learn(self, batch: Batch) -> Step:
        """A step at the present learning rate, which then follows the batch's entropy."""
        self._value = self._next
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr * float(self._value) ** self._exponent
        step = super().learn(batch)
        entropy = predictive_entropy(step.logits).mean()
        if self.optimizer.modulation.normalise_entropy:
            entropy = entropy / math.log(step.logits.shape[1])
        self._next = next_gain(self._value, entropy, **self._dynamics)
        return step

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {**super().state_dict(), "value": self._value, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._value, self._next = state["value"], state["next"]


class MeanEntropy(Learner):
    """NGM-SGD driven by the mean of all entropies so far instead of the latest one.

    The gain keeps the level that entropy gives it in the long run and loses its answer to a
    transition.

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
        """A step, after which the gain follows the mean entropy."""
        step = super().learn(batch)
        self._sum = self._sum + predictive_entropy(step.logits).mean()
        self._steps += 1
        modulation = self.optimizer.modulation
        modulation.override(modulation.after(self._sum / self._steps))
        return step

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {**super().state_dict(), "sum": self._sum, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._sum, self._steps = state["sum"], state["steps"]


class GainDecoy(Learner):
    """The gain of another run, late: the right amplitudes at the wrong times.

    The other run is one of NGM-SGD, from the same initial weights on the same batches, trained
    beside this one; its gain acts here ``delay`` iterations later, and until then the gain rests.

    Args:
        model: The network.
        delay: Iterations by which the gain is late, at least 0.
        **settings: Arguments of :class:`ngm_tune.NGMSGD`.
    """

    optimizer: NGMSGD

    def __init__(self, model: nn.Module, delay: int, **settings: Any) -> None:
        if delay < 0:
            raise ValueError(f"Invalid delay: {delay} (must be >= 0)")
        other = deepcopy(model)
        self._recorder = NGMSGD(other, **settings)
        self._other = Learner(other, self._recorder)
        super().__init__(model, NGMSGD(model, **{**settings, "gain_sensitivity": 0.0}))
        self._delay = delay
        self._rest = self.optimizer.gain
        self._trace: deque[Tensor] = deque()

    def learn(self, batch: Batch) -> Step:
        """A step of either run."""
        self._other.model.train()
        self._other.learn(batch)
        self._trace.append(self._recorder.gain)
        late = len(self._trace) > self._delay
        self.optimizer.modulation.override(self._trace.popleft() if late else self._rest)
        return super().learn(batch)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            **super().state_dict(),
            "other": self._other.state_dict(),
            "trace": torch.stack(list(self._trace)) if self._trace else torch.empty(0),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._other.load_state_dict(state["other"])
        self._trace = deque(state["trace"].unbind())
