"""What a study has left to do, from its results alone: neither torch nor Ray is needed."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.storages import InMemoryStorage

from ngm_tune.results.directory import Results
from ngm_tune.results.schema import Status
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.manifest import load_stored_study, load_study_copy, require_same_study
from ngm_tune.workspace.method_files import require_same_files
from ngm_tune.workspace.resume import create_sources, read_outcomes


def read_sources(plan: StudyPlan, location: str) -> Sequence[RunSource]:
    """Return the searches and fixed runs of a study, advanced past its finished runs.

    Nothing is written, unlike by :func:`~ngm_tune.workspace.resume.open_study`.

    Args:
        plan: The plan of the study.
        location: The results directory; it need not exist.

    Raises:
        UserError: The directory has a different study or damaged results.
    """
    results = Results(location)
    finished = {}
    if results.has_study():
        require_same_study(
            plan.study,
            (load_stored_study(results, plan.study.name), load_study_copy(results)),
            location,
        )
        require_same_files(plan, results, results.read_environment())
        finished = read_outcomes(results, plan)
    return create_sources(plan, InMemoryStorage(), finished)


def is_complete(sources: Sequence[RunSource]) -> bool:
    """Whether every run has ended."""
    return all(source.complete for source in sources)


def needs_costs(study: Study, location: str, sources: Sequence[RunSource]) -> bool:
    """Whether the costs of training steps are still to be measured."""
    if not study.cost:
        return False
    measured = set(Results(location).read("costs")["method"].to_pylist())
    return not set(working_methods(study, sources)) <= measured


def working_methods(study: Study, sources: Sequence[RunSource]) -> list[str]:
    """Return the methods of a study with at least one run that did not fail, or without runs."""
    failed = {
        name
        for name in study.methods
        if {o.status for s in sources if s.method.name == name for o in s.outcomes}
        == {Status.FAILED}
    }
    return [name for name in study.methods if name not in failed]
