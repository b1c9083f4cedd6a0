"""Results directories of earlier versions of ngm-tune, with their studies in current keys."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from tests.helpers.comparing import SCHEMA_1

SCHEMA_2_LEGACY_KEYS = SCHEMA_1.with_name("schema-2-old-keys")
"""Results of schema version 2 whose ``study.toml`` has keys of an earlier version."""
SCHEMA_3_WITHOUT_SEARCHES = SCHEMA_1.with_name("schema-3-without-searches")
"""Results of schema version 3 from before repetitions: no key ``searches``, other defaults."""


class LegacyResults(NamedTuple):
    """A results directory of an earlier version.

    Attributes:
        location: The results directory.
        study: The study file with current keys that resumes its study.
    """

    location: Path
    study: str

    def write_study(self, path: Path) -> Path:
        """Write the study file to ``path`` and return the path."""
        path.write_text(dedent(self.study))
        return path


LEGACY_RESULTS = {
    "schema 1": LegacyResults(
        SCHEMA_1,
        """
        name = "quickstart"
        title = "Results of schema 1"
        benchmarks = ["split-digits"]
        methods = ["ngm-sgd", "sgd"]
        searches = 1
        trials = 2
        seeds = 2
        split = "fixed"
        class_order = "paper"
        iterations_per_task = 6
        max_concurrent_trials = 1
        strategy = "joint"
        eval_tasks = "seen"
        reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
        """,
    ),
    "schema 2": LegacyResults(
        SCHEMA_2_LEGACY_KEYS,
        """
        name = "old-keys"
        title = "A study with the keys of today"
        benchmarks = ["split-digits"]
        methods = ["ngm-sgd", "sgd"]
        searches = 1
        trials = 2
        seeds = 1
        split = "fixed"
        class_order = "paper"
        max_concurrent_trials = 1
        strategy = "joint"
        eval_tasks = "seen"
        iterations_per_task = 10
        eval_examples = 20
        reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
        search_space = { sgd = { lr = [0.01, 0.5] } }
        points_to_evaluate = [{ method = "sgd", lr = 0.1 }]
        confirm = { max_configurations = 1, seeds = 2 }
        """,
    ),
    "schema 3": LegacyResults(
        SCHEMA_3_WITHOUT_SEARCHES,
        """
        name = "without-searches"
        title = "A study of today with one repetition"
        benchmarks = ["split-digits"]
        methods = ["ngm-sgd", "sgd"]
        searches = 1
        trials = 2
        seeds = 2
        split = "fixed"
        class_order = "paper"
        iterations_per_task = 6
        eval_examples = 20
        reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
        confirm = { max_configurations = 1, seeds = 2 }
        """,
    ),
}
