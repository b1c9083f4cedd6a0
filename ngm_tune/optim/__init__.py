"""The optimizer and its gain. Needs torch and nothing else of ngm-tune."""

from ngm_tune.optim.gain import NeuronalGain, predictive_entropy
from ngm_tune.optim.ngm_sgd import NGMSGD

__all__ = ["NGMSGD", "NeuronalGain", "predictive_entropy"]
