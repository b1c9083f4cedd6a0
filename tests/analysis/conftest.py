"""Fixtures of the tests of the analysis."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.loading import load
from ngm_tune.results.directory import Results
from tests.conftest import Finished
from tests.helpers.fronts import NGM, STUDY, write_trials
from tests.helpers.made_up import MadeUp


@pytest.fixture(scope="session")
def loaded(finished: Finished) -> LoadedStudy:
    """The small study, after a complete run."""
    return load(str(finished.location))


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    """An empty results directory for synthetic trials."""
    return MadeUp(tmp_path)


@pytest.fixture
def fronts(tmp_path: Path) -> Path:
    """Results with the fronts of :mod:`tests.helpers.fronts`."""
    results = Results(str(tmp_path))
    results.write_text("study.toml", STUDY)
    write_trials(results, "ngm-sgd", NGM)
    write_trials(results, "sgd", [("completed", (0.9, 0.9), (0.1, 0.1))])
    write_trials(results, "adam", [("diverged", (0.0, 0.0), (1.0, 1.0))] * 5)
    return tmp_path
