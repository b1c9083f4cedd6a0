"""The check at the start of a study that its methods can be resumed."""

from __future__ import annotations

from ngm_tune.errors import UserError
from ngm_tune.methods.built_in import BUILT_IN
from ngm_tune.methods.finite_space import centre
from ngm_tune.study.plan import StudyPlan


def require_resumable_methods(plan: StudyPlan) -> None:
    """Check that resumed runs of each method that is not built in equal uninterrupted ones.

    The check trains a small network at the centre of the method's search space, or with the
    settings of the study.

    Raises:
        UserError: The state of a method is incomplete, so interrupted trials would have other
            results, in silence.
    """
    built_in = {method.name for method in BUILT_IN}
    study = plan.study
    for name in study.methods:
        if name in built_in:
            continue
        from ngm_tune.training.resumption import explain_lost_state

        method = plan.methods[name]
        fixed = plan.fixed_hyperparameters(study.benchmarks[0], name)
        searched = (
            method.settings_at(centre(plan.spaces[name]))
            if study.settings is None
            else study.settings[name]
        )
        problem = explain_lost_state(method, {**fixed, **searched})
        if problem is not None:
            raise UserError(problem)
