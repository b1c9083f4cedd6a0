"""Trials that may be on a front."""

from __future__ import annotations

import math

import pytest

from ngm_tune.results.eligibility import is_eligible


@pytest.mark.parametrize("status", ["diverged", "stopped", "failed", None])
def test_only_completed_trials_are_eligible(status: str | None) -> None:
    assert is_eligible("completed", (0.9, 0.1), (), has_every_seed=True)
    assert not is_eligible(status, (0.9, 0.1), (), has_every_seed=True)


def test_trials_without_every_seed_are_not_eligible() -> None:
    assert not is_eligible("completed", (0.9, 0.1), (), has_every_seed=False)


@pytest.mark.parametrize("values", [None, (0.9, math.nan), (math.inf, 0.1)])
def test_trials_without_finite_objectives_are_not_eligible(
    values: tuple[float, float] | None,
) -> None:
    assert not is_eligible("completed", values, (), has_every_seed=True)


@pytest.mark.parametrize(
    ("violation", "eligible"),
    [((0.0, -0.1), True), ((1e-9,), True), ((-0.1, 0.01), False), ((math.nan,), False)],
)
def test_trials_that_violate_a_constraint_are_not_eligible(
    violation: tuple[float, ...], eligible: bool
) -> None:
    assert is_eligible("completed", (0.9, 0.1), violation, has_every_seed=True) is eligible
