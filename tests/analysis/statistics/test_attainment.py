"""Where the first method attains more than its best rival."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ngm_tune.analysis.charts.attainment import attainment_chart
from ngm_tune.analysis.statistics.answer import answer
from ngm_tune.analysis.statistics.attainment import AttainmentInfo, attainment_info
from tests.helpers.made_up import REPEATED, STUDY, MadeUp

SPLIT = "split-digits"


def info_of(made: MadeUp) -> AttainmentInfo | None:
    loaded = made.load()
    return attainment_info(loaded, answer(loaded, SPLIT))


def difference_at(info: AttainmentInfo, gap: float, accuracy: float) -> float:
    """Return the difference at a point; 0 where no rectangle contains it."""
    containing = info.differences.filter(
        pl.min_horizontal("x", "x2") <= gap,
        gap <= pl.max_horizontal("x", "x2"),
        pl.min_horizontal("y", "y2") <= accuracy,
        accuracy <= pl.max_horizontal("y", "y2"),
    )
    assert containing.height <= 1
    return 0.0 if containing.is_empty() else float(containing["difference"][0])


def test_differences_are_shares_of_the_replicates_that_attain_a_point(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED.replace("avg_acc = 0.0", "avg_acc = 0.5"))
    made.repetitions("ngm-sgd", [[(0.9, 0.1)], [(0.9, 0.1)], [(0.9, 0.3)]])
    made.repetitions("sgd", [[(0.8, 0.2)], [(0.95, 0.4)], [(0.4, 0.2)]])
    info = info_of(made)
    assert info is not None
    assert (info.focus, info.rival, info.n_replicates) == ("NGM-SGD", "SGD", 3 * 3)
    assert (info.x.name, info.y.name) == ("avg_sg", "avg_acc")
    assert info.x_domain == pytest.approx((0.1, 1.0))
    assert info.y_domain == pytest.approx((0.5, 0.95))
    points = {
        (0.15, 0.85): 2 / 3,  # two repetitions of NGM-SGD, none of SGD
        (0.25, 0.75): 2 / 3 - 1 / 3,
        (0.35, 0.85): 1.0,
        (0.45, 0.93): -1 / 3,
        (0.45, 0.85): 1 - 1 / 3,
        (0.45, 0.75): 1 - 2 / 3,  # the third repetition of SGD is worse than the reference point
        (0.05, 0.6): 0.0,
        (0.5, 0.97): 0.0,
    }
    for (gap, accuracy), expected in points.items():
        assert difference_at(info, gap, accuracy) == pytest.approx(expected), (gap, accuracy)
    assert attainment_chart(info).to_dict()["encoding"]["color"]["scale"]["domain"] == [-1, 0, 1]


def test_the_rival_is_the_one_with_the_largest_hypervolume(tmp_path: Path) -> None:
    study = REPEATED.replace('["ngm-sgd", "sgd"]', '["ngm-sgd", "sgd", "adam"]')
    made = MadeUp(tmp_path, study=study)
    for method, gap in (("ngm-sgd", 0.1), ("sgd", 0.5), ("adam", 0.3)):
        made.repetitions(method, [[(0.9, gap)]] * 3)
    info = info_of(made)
    assert info is not None
    assert info.rival == "adam"


def test_seeds_are_the_replicates_of_a_single_search(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY)
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), [(0.9, 0.1), (0.9, 0.2), (0.9, 0.3)])
    made.searched_and_confirmed("sgd", 0, (0.9, 0.4), [(0.9, 0.4)] * 3)
    info = info_of(made)
    assert info is not None
    assert info.n_replicates == 3
    assert difference_at(info, 0.15, 0.5) == pytest.approx(1 / 3)
    assert difference_at(info, 0.35, 0.5) == pytest.approx(1.0)
    assert difference_at(info, 0.6, 0.5) == 0.0


def test_nothing_is_shown_without_a_confirmation(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("trials = 8", "trials = 1"))
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.9, 0.4))
    assert info_of(made) is None
