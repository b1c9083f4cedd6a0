"""Derived seeds and deterministic algorithms."""

from __future__ import annotations

import os

import pytest
import torch

from ngm_tune.training.seeding import derive_seed, use_deterministic_algorithms


def test_seeds_differ_by_purpose_task_and_seed() -> None:
    purposes = ("weights", "batches", "training")
    seeds = {derive_seed(s, p, t) for s in range(5) for p in purposes for t in range(5)}
    assert len(seeds) == 75
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(42, "weights") == derive_seed(42, "weights")


def test_use_deterministic_algorithms_configures_torch_and_cublas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    former = torch.utils.deterministic.fill_uninitialized_memory
    try:
        use_deterministic_algorithms()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
        use_deterministic_algorithms()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = former
