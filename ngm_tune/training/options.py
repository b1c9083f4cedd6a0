"""Options of training and evaluation, as studies spell them. Importing this module loads no torch."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["joint", "replay", "naive"]
"""What batches are drawn from: all tasks seen so far; the current task and a buffer; or the current
task only."""

EvalTasks = Literal["seen", "first-and-previous"]
"""Tasks evaluated during training: all tasks seen so far, or the first and the previous one, which
suffice for their stability gaps and cost less. At the end of a task all seen tasks are evaluated."""

Precision = Literal["float32", "mixed", "bfloat16"]
"""Precision of evaluation; ``mixed`` computes in bfloat16, and again in float32 where rounding could
change a prediction."""

ProbeName = Literal["curvature", "fast-and-slow"]
"""Quantities measured in addition to accuracy during training."""
