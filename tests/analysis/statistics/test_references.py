"""References: default and published settings beside the fronts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.charts.pareto import pareto_chart
from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.statistics.answer import answers
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.facts import facts
from ngm_tune.analysis.statistics.methods import methods_table
from ngm_tune.analysis.statistics.pareto import pareto_info
from ngm_tune.analysis.statistics.references import references
from tests.helpers.made_up import REPEATED, MadeUp

SPLIT = "split-digits"


def complete(made: MadeUp) -> None:
    """Add two methods with a confirmed trial 1, and the useless search trial 0."""
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.4, 1.0), method=method, lr=0.001)
        made.searched_and_confirmed(method, 1, (0.9, 0.2), [(0.88, 0.25)] * 3)


def claims(loaded: LoadedStudy) -> str:
    """Return everything that the report concludes from test data."""
    table = methods_table(loaded, choose(loaded)).to_dicts()
    pareto = pareto_info(loaded, SPLIT, choose(loaded))
    shown = pareto.trials.drop("reference").to_dicts(), pareto.attained.to_dicts(), pareto.x_domain
    return repr((answers(loaded), table, shown))


def test_no_claim_rests_on_a_reference_that_the_front_did_not_select(made: MadeUp) -> None:
    complete(made)
    made.refer(sgd={"default": 0}, ngm_sgd={"default": 0})
    before = claims(made.load())
    for method in ("ngm-sgd", "sgd"):  # excellent on test data
        made.confirmed(f"{SPLIT}.{method}.0000.confirm", [(0.99, 0.0)] * 3)
    loaded = made.load()
    assert claims(loaded) == before
    assert loaded.references["reference"].to_list() == ["default", "default"]
    assert loaded.repetitions(SPLIT) == [0]
    assert not loaded.confirmed["reference"].is_not_null().any()


def test_the_time_of_references_counts(made: MadeUp) -> None:
    complete(made)
    made.refer(sgd={"default": 0})
    before = facts(made.load()).seconds
    made.confirmed(f"{SPLIT}.sgd.0000.confirm", [(0.99, 0.0)] * 3)
    assert facts(made.load()).seconds == before + 3 * 1800.0


def test_a_reference_that_the_front_selects_is_also_confirmed(made: MadeUp) -> None:
    complete(made)
    made.refer(sgd={"default": 1})
    loaded = made.load()
    assert loaded.confirmed.filter(method="sgd")["reference"].to_list() == ["default"]
    assert references(loaded, SPLIT)["avg_acc"].to_list() == pytest.approx([0.88])


def test_references_have_a_description_and_a_source(made: MadeUp) -> None:
    complete(made)
    made.confirmed(f"{SPLIT}.sgd.0000.confirm", [(0.5, 0.6)] * 3)
    made.refer(sgd={"default": 0, "paper": 0})
    made.describe("sgd", default_source="signature of torch.optim.SGD")
    columns = ("Method", "Reference", "Source", "config_lr", "avg_acc", "seeds", "status")
    rows = references(made.load(), SPLIT).select(columns).rows()
    assert rows == [
        (
            *("SGD", "the optimizer's default settings, untuned", "signature of torch.optim.SGD"),
            *(0.1, pytest.approx(0.5), 3, "completed"),
        ),
        ("SGD", "the paper's settings", None, 0.1, pytest.approx(0.5), 3, "completed"),
    ]


def test_unconfirmed_references_have_the_values_of_the_search(made: MadeUp) -> None:
    made.trial(0, (0.4, 0.6))
    made.trial(1, (0.9, 0.2))
    made.refer(sgd={"default": 0})
    row = references(made.load(), SPLIT).row(0, named=True)
    assert (row["avg_acc"], row["seeds"], row["Source"]) == (pytest.approx(0.4), 2, None)


def test_partly_confirmed_references_wait(made: MadeUp) -> None:
    complete(made)
    made.refer(sgd={"default": 0})
    made.confirmed(f"{SPLIT}.sgd.0000.confirm", [(0.5, 0.6)] * 2)
    assert references(made.load(), SPLIT).is_empty()


def test_references_are_means_over_repetitions(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    for method in ("ngm-sgd", "sgd"):
        made.repetitions(method, [[(a, 0.1), (a - 0.2, 0.3)] for a in (0.9, 0.8, 0.7)])
    made.refer(sgd={"paper": 1})
    (row,) = references(made.load(), SPLIT).to_dicts()
    assert (row["repetitions"], row["seeds"]) == (3, 9)
    assert row["avg_acc"] == pytest.approx(0.6)


def test_the_chart_marks_each_reference(made: MadeUp) -> None:
    complete(made)
    assert "M-1,-1L1,1" not in str(pareto_chart(pareto_info(made.load(), SPLIT, [])).to_dict())
    made.refer(sgd={"default": 1}, ngm_sgd={"default": 1, "paper": 1})
    chart = str(pareto_chart(pareto_info(made.load(), SPLIT, [])).to_dict())
    assert chart.count("M-1,-1L1,1") == 1  # one layer of both methods
    assert chart.count("M-1.2,0L1.2,0") == 1
    assert "the optimizer's default settings, untuned" in chart


def test_references_of_results_without_an_entry_are_unknown(made: MadeUp) -> None:
    complete(made)
    loaded = made.load()
    assert loaded.references.is_empty()
    assert references(loaded, SPLIT).is_empty()
    assert pareto_info(loaded, SPLIT, []).references.is_empty()
