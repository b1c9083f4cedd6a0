"""What is wrong with a results directory, and putting right what can be.

Nothing is ever deleted: what cannot be read is moved to ``damaged/`` in the directory, and then the
study, run again, makes it anew. What is in ``trials/`` is the truth; Optuna's record follows it.
"""

from __future__ import annotations

from ngm_tune.workspace.doctor.examination import examine
from ngm_tune.workspace.doctor.finding import Finding

__all__ = ["Finding", "examine"]
