"""Warnings about valid studies: entries without effect and unequal tuning effort."""

from __future__ import annotations

from collections.abc import Iterator

from ngm_tune.methods.finite_space import grid_of
from ngm_tune.methods.named_checks import averages_weights
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study


def study_warnings(study: Study) -> list[str]:
    """Return a sentence for each property of a study that its author may not expect."""
    plan = StudyPlan.resolve(study)
    return [
        *warn_of_unequal_starts(plan),
        *warn_of_small_spaces(plan),
        *warn_of_a_sampler_without_effect(study),
        *warn_of_averaged_weights(plan),
    ]


def warn_of_unequal_starts(plan: StudyPlan) -> Iterator[str]:
    """Yield a warning for each benchmark on which methods have different numbers of initial points.

    Initial points are the result of earlier tuning, so the tuning effort is not equal there.
    """
    for benchmark in plan.outlines:
        counts = plan.count_initial_points(benchmark)
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{method} {count}" for method, count in counts.items())
            yield f"{benchmark}: searches start from different numbers of points: {listed}"


def warn_of_small_spaces(plan: StudyPlan) -> Iterator[str]:
    """Yield a warning for each method with fewer configurations than the study has trials."""
    for method in plan.methods if plan.study.settings is None else ():
        grid = grid_of(plan.spaces[method])
        if grid is not None and grid.size < plan.study.trials:
            yield (
                f"{method} will have {grid.size} of {plan.study.trials} trials: its search space "
                "has no further configuration"
            )


def warn_of_a_sampler_without_effect(study: Study) -> Iterator[str]:
    """Yield a warning if all trials of a search start before one ends."""
    concurrent = study.max_concurrent_trials
    informing = study.count_informing_trials(study.trials - 1)
    if study.sampler != "random" and study.settings is None and informing < 1 < concurrent:
        yield (
            f"the {study.sampler} sampler will learn nothing: max_concurrent_trials = {concurrent} "
            f"starts all {study.trials} trials of a method before one ends"
        )


def warn_of_averaged_weights(plan: StudyPlan) -> Iterator[str]:
    """Yield a warning for each optimizer by name that averages weights with batch normalisation.

    Running statistics are those of the trained weights, and the averaged ones are evaluated.
    """
    averaging = [name for name in plan.methods if averages_weights(name)]
    if not averaging:
        return
    from torch.nn.modules.batchnorm import _BatchNorm

    for benchmark in plan.outlines:
        if any(
            isinstance(module, _BatchNorm) for module in plan.build_network(benchmark).modules()
        ):
            yield (
                f"{', '.join(averaging)} on {benchmark}: accuracies can be too low, because batch "
                "normalisation has the statistics of the trained weights, and averaged weights are "
                "evaluated"
            )
