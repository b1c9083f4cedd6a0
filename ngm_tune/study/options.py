"""Options of the search."""

from __future__ import annotations

from typing import Literal

Sampler = Literal["tpe", "nsga2", "gp", "random"]
"""Name of a sampler: an algorithm that suggests configurations."""

SINGLE_OBJECTIVE = ("cmaes", "cma-es")
"""Names of Optuna samplers that support a single objective only."""
