"""Regret of settings that were tuned on other benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ngm_tune.analysis.report.tables import transfer_rows
from ngm_tune.analysis.statistics.paired import estimate_mean
from ngm_tune.analysis.statistics.transfer import transfers
from ngm_tune.results.ids import TrialId
from tests.helpers.made_up import REPEATED, STUDY
from tests.helpers.transferred import make_transfers

SPLIT, ROTATED, PERMUTED = "split-digits", "rotated-digits", "permuted-mnist"


def one(split: float, rotated: float, gap: float = 0.5) -> dict[str, tuple[float, float]]:
    """Return the scores of a configuration on two benchmarks."""
    return {SPLIT: (split, gap), ROTATED: (rotated, gap)}


POINTS = {
    SPLIT: [[one(0.8, 0.6)], [one(0.9, 0.5)], [one(0.8, 0.4)]],
    ROTATED: [[one(0.7, 0.8)], [one(0.6, 0.9)], [one(0.8, 0.7)]],
}
"""Normalised hypervolume is accuracy times (1 - 0.5)."""


def test_regret_is_paired_within_repetitions(tmp_path: Path) -> None:
    loaded = make_transfers(tmp_path, POINTS).load()
    (to_split,), (to_rotated,) = transfers(loaded, SPLIT), transfers(loaded, ROTATED)
    assert (to_split.origin, to_split.method, to_split.repetitions) == (ROTATED, "sgd", (0, 1, 2))
    assert to_split.tuned == pytest.approx(np.mean([0.4, 0.45, 0.4]))
    assert to_split.transferred == pytest.approx(np.mean([0.35, 0.3, 0.4]))
    expected = estimate_mean([0.05, 0.15, 0.0])
    assert to_split.regret[:3] == pytest.approx(expected[:3])
    assert to_rotated.regret.mean == pytest.approx(np.mean([0.1, 0.2, 0.15]))
    assert transfer_rows(loaded, SPLIT) == [
        {
            "Method": "SGD",
            "Tuned on": ROTATED,
            "Repetitions": "3",
            "Hypervolume": "0.350",
            "Tuned here": "0.417",
            "Regret": f"+0.067 (−{-expected.low:.3f} to +{expected.high:.3f})",
        }
    ]


def test_a_repetition_counts_once_all_its_transfers_have_ended(tmp_path: Path) -> None:
    made = make_transfers(tmp_path, POINTS)
    moved = TrialId(ROTATED, "sgd", 0, repetition=1).transfer(SPLIT)
    (tmp_path / f"trials/{moved}.parquet").unlink()
    loaded = made.load()
    assert [each.repetitions for each in transfers(loaded, SPLIT)] == [(0, 2)]
    assert [each.repetitions for each in transfers(loaded, ROTATED)] == [(0, 1, 2)]


def test_transfers_of_configurations_that_are_no_longer_selected_are_left_out(
    tmp_path: Path,
) -> None:
    """A search that was extended can select others."""
    points = {SPLIT: [[one(0.8, 0.6), one(0.7, 0.9, 1.0)]], ROTATED: [[one(0.7, 0.8)]]}
    study = REPEATED.replace("searches = 3", "searches = 1")
    loaded = make_transfers(tmp_path, points, study=study).load()
    assert loaded.transferred.filter(benchmark=ROTATED)["origin"].to_list() == [f"{SPLIT}.sgd.0000"]


def test_a_single_repetition_has_an_interval_over_seeds(tmp_path: Path) -> None:
    study = STUDY.replace("trials = 8", "trials = 1")
    points = {name: each[:1] for name, each in POINTS.items()}
    made = make_transfers(tmp_path, points, study=study)
    moved = TrialId(ROTATED, "sgd", 0).transfer(SPLIT)
    made.rows(str(moved), [(0.6, 0.5), (0.7, 0.5), (0.8, 0.5)], range(1000, 1003), "transfer")
    (transfer,) = transfers(made.load(), SPLIT)
    assert transfer.regret.mean == pytest.approx(0.05)
    assert transfer.regret.low < 0.05 < transfer.regret.high


def test_a_study_without_transfers_has_no_table(tmp_path: Path) -> None:
    made = make_transfers(tmp_path, {SPLIT: [[{SPLIT: (0.9, 0.1)}]]}, study=STUDY)
    assert transfer_rows(made.load(), SPLIT) == []


def test_a_search_that_selects_nothing_attains_nothing_elsewhere(tmp_path: Path) -> None:
    """As in the verdict, where it has the hypervolume 0."""
    study = REPEATED.replace("searches = 3", "searches = 1").replace("trials = 2", "trials = 1")
    points = {SPLIT: [[one(0.8, 0.6)]], ROTATED: [[]]}
    made = make_transfers(tmp_path, points, study=study)
    failed = TrialId(ROTATED, "sgd", 0)
    made.rows(str(failed), [(0.0, 1.0)] * 2, range(2), phase="search", status="diverged")
    loaded = made.load()
    (transfer,) = transfers(loaded, SPLIT)
    assert (transfer.transferred, transfer.tuned) == pytest.approx((0.0, 0.4))
