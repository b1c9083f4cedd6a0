"""Captions of figures."""

from __future__ import annotations

from pathlib import Path

from ngm_tune.analysis import write_report
from ngm_tune.analysis.charts.pareto import pareto_chart
from ngm_tune.analysis.statistics.pareto import pareto_info
from tests.helpers.made_up import STUDY, MadeUp
from tests.helpers.report_text import pareto_caption, plain_text

SPLIT = "split-digits"


def caption(made: MadeUp) -> str:
    loaded = made.load()
    info = pareto_info(loaded, SPLIT, [])
    pareto_chart(info).to_dict()
    return pareto_caption(loaded, SPLIT, info)


def test_an_incompletely_confirmed_search_is_captioned_as_search(tmp_path: Path) -> None:
    """Otherwise methods would be compared on different data."""
    made = MadeUp(tmp_path)
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.9, 0.3), method=method)
    made.trial(0, (0.8, 0.4), phase="confirm", spread=0.1)
    text = caption(made)
    assert "Faint points are trials, each the mean of 2 seeds." in text
    assert "Solid lines are the Pareto fronts of the trials." in text
    assert "All values are from validation data and not confirmed." in text
    assert "bars" not in text
    made.trial(0, (0.8, 0.4), method="ngm-sgd", phase="confirm", spread=0.1)
    text = caption(made)
    assert "re-run on test data with 3 fresh seeds (bars: ± 1 standard deviation)." in text
    assert "Solid lines are the Pareto fronts of the confirmed points." in text


def test_a_single_configuration_and_a_single_seed_are_singular(tmp_path: Path) -> None:
    study = STUDY.replace("seeds = 3", "seeds = 1").replace("seeds = 2", "seeds = 1")
    made = MadeUp(tmp_path, study=study.replace("trials = 8", "trials = 1"))
    made.trial(0, (0.9, 0.3), seeds=[0])
    made.confirmed(f"{SPLIT}.sgd.0000.confirm", [(0.8, 0.4)])
    text = caption(made)
    assert "on test data with 1 fresh seed. A dashed line" in text


def test_a_single_objective_has_no_front_line(tmp_path: Path) -> None:
    study = STUDY.replace('objectives = ["avg_acc", "avg_sg"]', 'objectives = ["avg_acc"]')
    made = MadeUp(tmp_path, study=study.replace(", avg_sg = 1.0", ""))
    made.trial(0, (0.9, 0.3))
    assert "Solid points are on their method's front." in caption(made)
    made.trial(0, (0.8, 0.4), phase="confirm")
    assert "Solid lines" not in caption(made)


def test_trials_outside_the_visible_range_are_counted(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.3))
    loaded = made.load()
    info = pareto_info(loaded, SPLIT, [])._replace(n_hidden=2)
    assert "2 trials lie outside the visible range; zoom out in the page to see them." in (
        pareto_caption(loaded, SPLIT, info)
    )
    made.trial(0, (0.8, 0.4), phase="confirm")
    loaded = made.load()
    info = pareto_info(loaded, SPLIT, [])._replace(n_hidden=1, n_hidden_claims=1)
    assert (
        "1 trial lies outside the visible range (confirmed: 1); zoom out in the page to see it."
        in (pareto_caption(loaded, SPLIT, info))
    )


def test_fixed_runs_are_captioned_as_test_data(tmp_path: Path) -> None:
    study = STUDY.replace("trials = 8", "trials = 1") + "settings = { ngm-sgd = {}, sgd = {} }\n"
    made = MadeUp(tmp_path, study=study)
    made.fixed_run("sgd", (0.9, 0.2))
    assert caption(made).endswith(
        "Each point is a method with fixed hyper-parameters on test data: the mean of 2 seeds, "
        "with bars for ± 1 standard deviation."
    )


def test_references_are_captioned_with_their_marks(tmp_path: Path) -> None:
    made = MadeUp(tmp_path)
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.4, 1.0), method=method)
        made.trial(1, (0.9, 0.2), method=method)
    assert "references" not in caption(made)
    made.refer(sgd={"default": 0}, ngm_sgd={"default": 1})
    text = caption(made)
    assert "Crosses are references: × the optimizer's default settings, untuned." in text
    assert "confirms them" not in text
    for method in ("ngm-sgd", "sgd"):
        made.trial(1, (0.88, 0.25), method=method, phase="confirm")
    made.trial(0, (0.3, 0.7), phase="confirm")
    made.refer(sgd={"default": 0, "paper": 1}, ngm_sgd={"default": 1})
    text = caption(made)
    assert (
        "Crosses are references: × the optimizer's default settings, untuned; + the paper's "
        "settings. The study confirms them beside the fronts. A reference that no front selected "
        "is part of no line and no verdict. Not in view: SGD with the optimizer's default "
        "settings, untuned (average accuracy 0.300, stability gap (previous task) 0.700)." in text
    )
    made.trial(0, (0.0, 1.0), phase="confirm", status="diverged", diverged_at=5)
    assert "SGD with the optimizer's default settings, untuned (diverged)." in caption(made)


def test_task_aware_methods_are_marked_and_explained(made: MadeUp) -> None:
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.9, 0.2), method=method)
    assert "†" not in report_text(made)
    made.describe("sgd", title="EWC", task_aware=True)
    text = report_text(made)
    assert "EWC †" in text
    assert "NGM-SGD †" not in text
    assert text.count("† Task-aware: the method uses the boundaries of tasks, or the task of") == 1
    loaded = made.load()
    assert (loaded.method_title("sgd"), loaded.method_titles) == ("EWC †", ["NGM-SGD", "EWC †"])
    assert pareto_info(loaded, SPLIT, []).methods == ["NGM-SGD", "EWC †"]
    markdown = (Path(made.location) / "report" / "methods.md").read_text()
    assert "| EWC † " in markdown
    assert markdown.endswith("do not have this information.\n")


def test_spaces_that_do_not_contain_those_of_ablations_are_named(made: MadeUp) -> None:
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.9, 0.2), method=method)
    made.describe("sgd", ablation_of=["ngm-sgd"])
    assert (
        "The space of NGM-SGD contains that of its ablation or control SGD in lr."
        in report_text(made)
    )
    made.describe("ngm-sgd", space={"lr": {"low": 0.01, "high": 1.0, "log": True}})
    assert (
        "⚠ NGM-SGD searches lr from 0.01 to 1, log scale, which does not contain the range of its "
        "ablation or control SGD, 0.001 to 1, log scale: SGD can be better by its range alone."
        in report_text(made)
    )
    made.describe("ngm-sgd", space={"decay": {"low": 0.01, "high": 1.0}})
    assert "NGM-SGD and its ablation or control SGD share no search coordinate." in report_text(
        made
    )


def report_text(made: MadeUp) -> str:
    page = write_report(made.location, Path(made.location) / "report", images=False).page
    return plain_text(page.read_text().partition("<script>")[0])
