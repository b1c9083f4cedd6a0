"""A shorter form of tests/performance/chaos.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.performance.chaos import play, undisturbed


def test_killed_and_resumed_at_random_moments_a_study_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    undisturbed(tmp_path / "whole")
    for seed in (3, 4):  # two nodes, a worker and a driver
        found = play(seed, tmp_path / "whole", tmp_path / f"round-{seed}")
        assert found.killed
        assert found.wrong == [], found
