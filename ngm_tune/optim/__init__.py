"""The NGM-SGD optimizer and its neuronal gain. Depends on torch only."""

from ngm_tune.optim.gain import NeuronalGain
from ngm_tune.optim.ngm_sgd import NGMSGD
from ngm_tune.optim.predictions import predictive_entropy

__all__ = ["NGMSGD", "NeuronalGain", "predictive_entropy"]
