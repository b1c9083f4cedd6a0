"""The Pareto chart."""

from __future__ import annotations

from ngm_tune.analysis.charts.pareto import pareto_chart
from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.pareto import pareto_info


def test_tooltips_contain_the_configuration_and_the_metrics(loaded: LoadedStudy) -> None:
    info = pareto_info(loaded, "split-digits", choose(loaded))
    specification = str(pareto_chart(info).to_dict())
    for shown in ("config_lr", "config_gain_sensitivity", "Recovery time", "Stability gap"):
        assert shown in specification
