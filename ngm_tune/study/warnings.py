"""Warnings about a valid study: settings without effect, and unequal effort."""

from __future__ import annotations

from collections.abc import Iterator

from ngm_tune.methods.finite_space import grid_of
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study


def study_warnings(study: Study) -> list[str]:
    """Return a sentence for everything in a study that will surprise its author."""
    plan = StudyPlan.resolve(study)
    return [*unequal_starts(plan), *small_spaces(plan), *without_effect(study)]


def unequal_starts(plan: StudyPlan) -> Iterator[str]:
    """Yield benchmarks on which methods start from different numbers of points.

    Tuning effort is not equal there, because somebody has tuned some methods before.
    """
    for benchmark in plan.outlines:
        counts = plan.starting_points(benchmark)
        if len(set(counts.values())) > 1:
            each = ", ".join(f"{method} {count}" for method, count in counts.items())
            yield f"{benchmark}: searches start from different numbers of points: {each}"


def small_spaces(plan: StudyPlan) -> Iterator[str]:
    """Yield methods whose search spaces have fewer configurations than the study has trials."""
    for method in plan.methods if plan.study.settings is None else ():
        grid = grid_of(plan.spaces[method])
        if grid is not None and grid.size < plan.study.trials:
            yield (
                f"{method} will have {grid.size} of {plan.study.trials} trials: its search space "
                "has no further configuration"
            )


def without_effect(study: Study) -> Iterator[str]:
    """Yield rules that cannot act in a search as short as the study's."""
    # Number of outcomes that inform the decision about the last run.
    known = max(0, study.runs_per_search - study.max_concurrent_trials)
    early, plateau = study.early_stopping, study.plateau
    if early is not None and known < early.min_peers:
        yield (
            f"early_stopping will stop no trial: min_peers = {early.min_peers} is more than the "
            f"{known} runs with which the last run of a method can be compared"
        )
    concurrent = study.max_concurrent_trials
    if study.sampler != "random" and study.settings is None and known < 1 < concurrent:
        yield (
            f"the {study.sampler} sampler will learn nothing: max_concurrent_trials = {concurrent} "
            f"starts all {study.trials} trials of a method before one has ended"
        )
    if plateau is not None:
        needed = 2 * plateau.patience * study.runs_per_trial
        if known < needed:
            yield (
                f"plateau will end no search: patience = {plateau.patience} needs the outcomes of "
                f"{needed} runs of each method, and {known} will be known"
            )
