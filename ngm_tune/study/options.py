"""Options of a study that are neither of training nor of one table of its file."""

from __future__ import annotations

from typing import Literal

Sampler = Literal["tpe", "nsga2", "gp", "random"]
"""How Optuna proposes configurations."""

SINGLE_OBJECTIVE = ("cmaes", "cma-es")
"""Samplers of Optuna that support a single objective only."""
