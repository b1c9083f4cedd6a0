"""The NGM-SGD optimizer and its neuronal gain. Depends on torch only."""

from ngm_tune.optim.attach import attach_gain
from ngm_tune.optim.gain import NeuronalGain
from ngm_tune.optim.ngm_sgd import NGMSGD
from ngm_tune.optim.predictions import predictive_entropy

__all__ = ["NGMSGD", "NeuronalGain", "attach_gain", "predictive_entropy"]
