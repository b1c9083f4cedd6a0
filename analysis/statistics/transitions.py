"""Accuracy, gain and entropy around transitions, for the chosen configurations."""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl

from ..loaded_study import LoadedStudy
from .choice import Choice
from .traces import summarize_seeds, task_starts, thin, titles_by_trial

BEFORE, AFTER = 10, 60
"""Number of iterations shown before and after a transition."""

GAIN, ENTROPY = "Gain", "Entropy, nats"


class TransitionInfo(NamedTuple):
    """Accuracy on an old task around each transition.

    Attributes:
        old_task: Which old task is shown: the one in the study's stability gap, ``"first"`` if
            ``avg_sg_first`` is an objective, else ``"previous"``.
        accuracy: One row per method, transition and iteration: ``Method``, ``Transition`` (for
            example "into task 2"), ``elapsed`` (iterations since the transition; 0 is the last of
            the old task), and ``mean``, ``low`` and ``high`` over seeds.
        methods: Display names of all methods, in the order of colours.
        transitions: Names of the transitions, in order.
    """

    old_task: Literal["first", "previous"]
    accuracy: pl.DataFrame
    methods: list[str]
    transitions: list[str]


class GainInfo(NamedTuple):
    """Gain and entropy over a run, for the methods with a gain.

    Attributes:
        traces: One row per method, iteration and ``quantity`` (:data:`GAIN` or :data:`ENTROPY`):
            ``Method``, ``iteration``, and ``mean``, ``low`` and ``high`` over seeds.
        methods: Display names of all methods, in the order of colours.
        task_starts: First iteration of every task but the first.
    """

    traces: pl.DataFrame
    methods: list[str]
    task_starts: list[int]


def transition_info(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> TransitionInfo:
    """Read the accuracy curves of a benchmark's chosen configurations."""
    titles = titles_by_trial(loaded, benchmark, choices)
    curves = pl.DataFrame(loaded.results.read("curves", titles))
    objectives = [metric.name for metric in loaded.objectives]
    old_task: Literal["first", "previous"] = "first" if "avg_sg_first" in objectives else "previous"
    starts = task_starts(curves)
    windows = [
        curves.filter(
            pl.col("iteration").is_between(start - BEFORE, start - 1 + AFTER),
            pl.col("task").is_in([task - 1, task]),
            eval_task=0 if old_task == "first" else task - 1,
        ).with_columns(
            (pl.col("iteration") - (start - 1)).alias("elapsed"),
            pl.lit(f"into task {task + 1}").alias("Transition"),
        )
        for task, start in starts.items()
    ]
    empty = curves.clear().with_columns(elapsed=pl.lit(0), Transition=pl.lit(""))
    accuracy = pl.concat(windows) if windows else empty
    return TransitionInfo(
        old_task,
        summarize_seeds(accuracy, titles, ["Transition", "elapsed"], "accuracy"),
        loaded.method_titles,
        [f"into task {task + 1}" for task in starts],
    )


def gain_info(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> GainInfo:
    """Read the gain and entropy of a benchmark's chosen configurations with a gain."""
    titles = titles_by_trial(loaded, benchmark, choices)
    steps = pl.DataFrame(loaded.results.read("steps", titles)).filter(pl.col("gain").is_not_nan())
    starts = list(task_starts(steps).values())
    shown = thin(steps, starts)
    traces = [
        summarize_seeds(shown, titles, ["iteration"], column).with_columns(
            pl.lit(quantity).alias("quantity")
        )
        for column, quantity in (("gain", GAIN), ("entropy", ENTROPY))
    ]
    return GainInfo(pl.concat(traces), loaded.method_titles, starts)
