"""Methods over several benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.report.rendering import render
from ngm_tune.analysis.report.sections import sections
from ngm_tune.analysis.statistics.across import (
    AcrossInfo,
    across_info,
    benchmarks_to_differ,
    critical_difference,
    improvement_probabilities,
    mean_over_benchmarks,
    mean_ranks,
    performance_profile,
)
from ngm_tune.analysis.statistics.answer import answers
from ngm_tune.analysis.statistics.methods import methods_table
from tests.helpers.made_up import REPEATED, MadeUp
from tests.helpers.report_text import plain_text

SPLIT, ROTATED = "split-digits", "rotated-digits"
BOTH = REPEATED.replace(f'["{SPLIT}"]', f'["{SPLIT}", "{ROTATED}"]')
GAPS = {
    SPLIT: {"ngm-sgd": (0.1, 0.2, 0.3), "sgd": (0.3, 0.4, 0.5)},
    ROTATED: {"ngm-sgd": (0.4, 0.5, 0.6), "sgd": (0.1, 0.2, 0.4)},
}
"""Gap of the only configuration, at accuracy 1, in each repetition: the hypervolume is 1 - gap."""


def write(made: MadeUp, gaps: dict[str, dict[str, tuple[float, ...]]]) -> MadeUp:
    for benchmark, of_methods in gaps.items():
        for method, values in of_methods.items():
            made.repetitions(method, [[(1.0, gap)] for gap in values], benchmark)
    return made


@pytest.fixture
def two(tmp_path: Path) -> LoadedStudy:
    return write(MadeUp(tmp_path, study=BOTH), GAPS).load()


def info_of(loaded: LoadedStudy) -> AcrossInfo:
    info = across_info(loaded)
    assert info is not None
    return info


def test_methods_are_summarized_over_benchmarks(two: LoadedStudy) -> None:
    info = info_of(two)
    assert (info.focus, info.omitted, info.unconfirmed) == ("ngm-sgd", [], [])
    assert info.repetitions == {SPLIT: 3, ROTATED: 3}
    first, other = info.scores
    assert (first.method, other.method) == ("ngm-sgd", "sgd")
    assert first.hypervolume.value == pytest.approx((0.8 + 0.5) / 2)
    assert other.hypervolume.value == pytest.approx((0.6 + 2.3 / 3) / 2)
    assert (first.rank, other.rank) == (1.5, 1.5)
    assert first.improvement is None
    # Split-Digits: 8 of 9 pairs are won, and one is a tie. Rotated-Digits: one tie of 9.
    assert other.improvement is not None
    assert other.improvement.value == pytest.approx((8.5 / 9 + 0.5 / 9) / 2)


def test_the_interval_of_a_mean_over_benchmarks_is_welchs() -> None:
    """Hand-computed: the variances of the means are 0.01 / 3 and 0.02 / 2."""
    mean, low, high = mean_over_benchmarks([np.array([0.5, 0.6, 0.7]), np.array([0.2, 0.4])])
    variances = 0.01 / 3, 0.02 / 2
    degrees = sum(variances) ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 1)
    assert degrees == pytest.approx(1.684, abs=1e-3)
    assert mean == pytest.approx(0.45)
    error = sum(variances) ** 0.5 / 2
    assert (high - mean) / error == pytest.approx(5.13, abs=0.05)  # t quantile, 1.684 degrees
    assert mean - low == pytest.approx(high - mean)
    assert mean_over_benchmarks([np.ones(3), np.zeros(2)]) == (0.5, 0.5, 0.5)


def test_equal_values_count_half_in_the_probability_of_improvement() -> None:
    first, second = np.array([[2.0, 3.0], [2.0, 1.0]]), np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    (equal,) = improvement_probabilities([first])
    assert equal.value == pytest.approx(3.5 / 4)  # 2 ties with 2; 2 beats 1; 3 beats both
    (both,) = improvement_probabilities([first, second])
    assert both.value == pytest.approx(3.5 / 8)
    assert both.low <= both.value <= both.high
    (tied,) = improvement_probabilities([np.ones((2, 4))])
    assert tied == (0.5, 0.5, 0.5)


def test_repetitions_are_drawn_for_all_methods_together() -> None:
    """The shared effect of a repetition on both methods cancels in every bootstrap sample."""
    effect = np.array([0.1, 0.5, 0.9])
    (shared,) = improvement_probabilities([np.stack([effect + 1e-6, effect])])
    (apart,) = improvement_probabilities([np.stack([effect + 1e-6, effect[::-1]])])
    assert shared.value == apart.value == pytest.approx(6 / 9)
    assert shared.low >= 0.5 > apart.low


def test_an_interval_covers_equal_methods() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        samples = [rng.normal(size=(2, 5)) for _ in range(2)]
        (interval,) = improvement_probabilities(samples)
        covered += interval.low <= 0.5 <= interval.high
    assert covered >= 90


def test_ranks_are_averaged_and_ties_share_them() -> None:
    means = np.array([[0.9, 0.5, 0.7], [0.6, 0.6, 0.8]])
    assert mean_ranks(means).tolist() == [1.75, 2.75, 1.5]


def test_critical_differences_are_those_of_demsar() -> None:
    """Table 5 (a) of Demšar 2006: q is 1.960, 2.343, 2.569, 2.728 for 2 to 5 classifiers."""
    for n_methods, q in ((2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)):
        expected = q * (n_methods * (n_methods + 1) / (6 * 14)) ** 0.5
        assert critical_difference(n_methods, 14) == pytest.approx(expected, abs=1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)  # his example


@pytest.mark.parametrize(("n_methods", "needed"), [(2, 4), (3, 3), (5, 3)])
def test_few_benchmarks_cannot_show_different_ranks(n_methods: int, needed: int) -> None:
    assert benchmarks_to_differ(n_methods) == needed
    largest = n_methods - 1
    assert critical_difference(n_methods, needed) <= largest
    assert critical_difference(n_methods, needed - 1) > largest


def test_a_performance_profile_is_the_share_of_searches_that_reach_a_value() -> None:
    samples = [np.array([[0.0, 0.5, 1.0], [0.5, 0.5, 0.5]]), np.array([[1.0, 1.0], [0.0, 1.0]])]
    profile = performance_profile(samples, ["A", "B"])
    assert profile["hypervolume"].min() == 0.0
    assert profile["hypervolume"].max() == 1.0

    def shares(method: str) -> list[float]:
        at = pl.col("hypervolume").is_in([0.0, 0.5, 1.0])
        rows = profile.filter(at, Method=method)
        return rows["share"].to_list()

    assert shares("A") == pytest.approx([1.0, (2 / 3 + 1) / 2, (1 / 3 + 1) / 2])
    assert shares("B") == pytest.approx([1.0, (1 + 0.5) / 2, (0 + 0.5) / 2])
    assert (profile["low"] <= profile["share"]).all()
    assert (profile["share"] <= profile["high"]).all()
    constant = profile.filter(Method="B", hypervolume=0.0)
    assert constant.select("low", "high").row(0) == (1.0, 1.0)


def test_one_benchmark_or_one_repetition_is_not_compared(tmp_path: Path) -> None:
    for name, gaps in {
        "one benchmark": {SPLIT: GAPS[SPLIT]},
        "one method": {each: {"ngm-sgd": (0.1, 0.2)} for each in GAPS},
        "one repetition": GAPS | {ROTATED: {"ngm-sgd": (0.4,), "sgd": (0.1,)}},
        "other methods": {SPLIT: GAPS[SPLIT], ROTATED: {"sgd": (0.4, 0.5, 0.6)}},
    }.items():
        (tmp_path / name).mkdir()
        assert across_info(write(MadeUp(tmp_path / name, study=BOTH), gaps).load()) is None


def test_methods_that_lack_a_benchmark_are_left_out(tmp_path: Path) -> None:
    study = BOTH.replace('"sgd"]', '"sgd", "adam"]')
    gaps = GAPS | {SPLIT: GAPS[SPLIT] | {"adam": (0.1, 0.1, 0.1)}}
    info = info_of(write(MadeUp(tmp_path, study=study), gaps).load())
    assert [each.method for each in info.scores] == ["ngm-sgd", "sgd"]
    assert info.omitted == ["adam"]


def test_fixed_runs_are_not_compared(tmp_path: Path) -> None:
    study = BOTH.replace("trials = 2\nsearches = 3", "trials = 1")
    made = MadeUp(tmp_path, "settings = { ngm-sgd = {}, sgd = {} }\n", study)
    for benchmark in GAPS:
        for method in ("ngm-sgd", "sgd"):
            made.rows(f"{benchmark}.{method}.0000", [(0.9, 0.1)] * 2, range(2))
    assert across_info(made.load()) is None


def section_text(loaded: LoadedStudy) -> str:
    found = answers(loaded)
    section = sections(loaded, found, [], methods_table(loaded, []), [])[0]
    assert section.title == "Across benchmarks"
    return plain_text(render("section.html.jinja", loaded=loaded, section=section, departures=[]))


def test_the_section_says_what_few_benchmarks_cannot_show(two: LoadedStudy) -> None:
    text = section_text(two)
    assert "All methods over 2 benchmarks" in text
    assert f"{SPLIT} (3 repetitions) and {ROTATED} (3 repetitions), each with the same" in text
    assert "2 methods can be at most 1 rank apart" in text
    assert "at least 1.39 apart" in text
    assert "So 2 benchmarks cannot show that any methods differ in rank" in text
    assert "at least 4 could" in text
    assert "Probability that NGM-SGD is better" in text
    assert "NGM-SGD 0.650 (" in text
    assert "SGD 0.683 (" in text
    assert "0.50 (" in text
    assert "With fewer than ten repetitions the bootstrap intervals are too narrow" in text
    assert "no pair of searches disagrees" not in text
    assert "not confirmed" not in text


def test_separated_methods_have_no_certainty(tmp_path: Path) -> None:
    gaps = {each: {"ngm-sgd": (0.1, 0.2, 0.2), "sgd": (0.5, 0.6, 0.7)} for each in GAPS}
    text = section_text(write(MadeUp(tmp_path, study=BOTH), gaps).load())
    assert "1.00 (1.00 to 1.00)" in text
    assert "which does not mean that a new search cannot disagree" in text


def test_unconfirmed_benchmarks_are_named(tmp_path: Path) -> None:
    study = BOTH.replace("confirm = { max_configurations = 2, seeds = 3 }", "")
    made = MadeUp(tmp_path, study=study)
    write(made, GAPS)
    for path in (tmp_path / "trials").glob("*.confirm.parquet"):
        path.unlink()
    assert across_info(made.load()) is None  # one trial of two: the searches have not ended
    made.results.write_text("study.toml", study.replace("trials = 2", "trials = 1"))
    loaded = made.load()
    assert info_of(loaded).unconfirmed == [SPLIT, ROTATED]
    assert f"{SPLIT} (3 repetitions, not confirmed)" in section_text(loaded)
