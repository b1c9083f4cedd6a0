"""The NGM-SGD optimizer and its neuronal gain. Depends on torch only."""

from ngm_tune.optim.gain import NeuronalGain, predictive_entropy
from ngm_tune.optim.ngm_sgd import NGMSGD

__all__ = ["NGMSGD", "NeuronalGain", "predictive_entropy"]
