"""Find and repair damage in a results directory.

Nothing is deleted. A damaged file is moved to ``damaged/`` in the directory, which is the
quarantine; resuming the study recreates it. The files in ``trials/`` are authoritative, and
Optuna's journal is brought up to date with them.
"""

from __future__ import annotations

from ngm_tune.workspace.doctor.examination import examine
from ngm_tune.workspace.doctor.finding import Finding

__all__ = ["Finding", "examine"]
