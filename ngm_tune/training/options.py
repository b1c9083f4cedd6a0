"""Options of training and evaluation, as studies spell them, without torch."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["joint", "replay", "naive"]
"""What batches are drawn from: all tasks seen so far; the current task and a buffer; or the current
task only."""

EvalTasks = Literal["seen", "first-and-previous"]
"""Tasks evaluated during training: all tasks seen so far, or the first and the previous one.

These two suffice for their stability gaps and cost less. At the end of a task all seen tasks are
evaluated."""

Precision = Literal["float32", "mixed", "bfloat16"]
"""Precision of evaluation.

- ``"float32"``: single precision.
- ``"bfloat16"``: 2 to 4 times faster on hardware with bfloat16, many times slower where it is
  emulated, and less exact: a prediction can flip where two logits are close.
- ``"mixed"``: bfloat16, then float32 for every example whose two largest logits are so close that
  rounding could have swapped them; float32 on hardware without bfloat16. Accuracy equals that of
  float32; the loss is close to it.
"""

ProbeName = Literal["curvature", "fast-and-slow"]
"""Quantities measured in addition to accuracy during training."""
