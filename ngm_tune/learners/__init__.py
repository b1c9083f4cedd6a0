"""Training rules that are more than an optimizer."""

from ngm_tune.learners.averaging import ExponentialAverage
from ngm_tune.learners.controls import EntropyLearningRate, GainDecoy, MeanEntropy
from ngm_tune.learners.learner import Batch, Draw, Learner, Step
from ngm_tune.learners.oracles import MomentumReset, WarmUp
from ngm_tune.learners.projection import GradientProjection
from ngm_tune.learners.regularisation import ElasticWeightConsolidation, SynapticIntelligence
from ngm_tune.learners.rehearsal import ExperienceReplay
from ngm_tune.learners.sharpness import SharpnessAware

__all__ = [
    "Batch",
    "Draw",
    "ElasticWeightConsolidation",
    "EntropyLearningRate",
    "ExperienceReplay",
    "ExponentialAverage",
    "GainDecoy",
    "GradientProjection",
    "Learner",
    "MeanEntropy",
    "MomentumReset",
    "SharpnessAware",
    "Step",
    "SynapticIntelligence",
    "WarmUp",
]
