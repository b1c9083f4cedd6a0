"""Accuracy, gain and entropy around transitions."""

from __future__ import annotations

import polars as pl
import pytest

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.transitions import (
    ENTROPY,
    GAIN,
    gain_info,
    transition_info,
)


def test_the_old_task_in_the_figure_is_that_of_the_objective(loaded: LoadedStudy) -> None:
    choices = choose(loaded)
    info = transition_info(loaded, "split-digits", choices)
    assert info.old_task == "previous"
    choice = next(c for c in choices if (c.benchmark, c.method) == ("split-digits", "sgd"))
    curves = pl.DataFrame(loaded.results.read("curves", [choice.trial_id]))
    objectives = {"objectives": ["avg_acc", "avg_sg_first"]}
    first = loaded._replace(study=loaded.study.model_copy(update=objectives))
    for whose, task in ((info, 1), (transition_info(first, "split-digits", choices), 0)):
        # Two iterations after the second transition, at 48.
        seeds = curves.filter(iteration=50, eval_task=task)["accuracy"]
        row = whose.accuracy.filter(Method="SGD", Transition="into task 3", elapsed=2).to_dicts()[0]
        assert row["mean"] == pytest.approx(seeds.mean(), rel=1e-3)


def test_accuracy_around_a_transition_is_summarized_over_seeds(loaded: LoadedStudy) -> None:
    info = transition_info(loaded, "split-digits", choose(loaded))
    assert info.transitions == [f"into task {k}" for k in (2, 3, 4, 5)]
    choice = next(c for c in choose(loaded) if (c.benchmark, c.method) == ("split-digits", "sgd"))
    curves = pl.DataFrame(loaded.results.read("curves", [choice.trial_id]))
    # Iteration 26 is the second after the first transition, at 24.
    seeds = curves.filter((pl.col("iteration") == 26) & (pl.col("eval_task") == 0))["accuracy"]
    row = info.accuracy.filter(Method="SGD", Transition="into task 2", elapsed=2).to_dicts()[0]
    assert row["mean"] == pytest.approx(seeds.mean(), rel=1e-3)
    assert row["low"] == pytest.approx(seeds.min(), rel=1e-3)
    assert row["high"] == pytest.approx(seeds.max(), rel=1e-3)
    assert info.accuracy["elapsed"].min() < 0  # type: ignore[operator]


def test_only_methods_with_a_gain_have_a_gain_trace(loaded: LoadedStudy) -> None:
    info = gain_info(loaded, "rotated-digits", choose(loaded))
    assert info.traces["Method"].unique().to_list() == ["NGM-SGD"]
    assert set(info.traces["quantity"]) == {GAIN, ENTROPY}
    assert info.task_starts == [25, 49]
    first = info.traces.filter(quantity=GAIN, iteration=1)
    assert first["mean"].to_list() == [1.0]
