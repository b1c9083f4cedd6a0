"""A shorter form of tests/performance/chaos.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.performance.chaos import play, undisturbed

SEED = 7
"""Kills the driver, a worker and a node."""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.timeout(400)
def test_a_randomly_killed_and_resumed_study_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    undisturbed(tmp_path / "whole")
    result = play(SEED, tmp_path / "whole", tmp_path / "study")
    assert "driver" in result.killed
    assert len(result.killed) >= 2
    assert result.wrong == [], result
