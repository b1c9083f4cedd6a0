"""What a planned study can resolve."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.statistics.paired import resolvable_difference
from ngm_tune.analysis.statistics.planning import resolutions
from ngm_tune.errors import UserError
from tests.analysis.statistics.test_answer import BETTER, WORSE
from tests.helpers.made_up import REPEATED, MadeUp


def test_the_spread_between_repetitions_determines_what_can_be_resolved(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    made.repetitions("ngm-sgd", BETTER)
    made.repetitions("sgd", WORSE)
    volume, gap, _ = resolutions(made.load(), searches=10, rivals=2)
    assert (volume.quantity, volume.rival) == ("Hypervolume", "SGD")
    assert volume.spread == pytest.approx(0.009)  # 0.9 times that of the gaps
    assert gap.spread == pytest.approx(0.01)
    assert gap.difference == pytest.approx(resolvable_difference(0.01, 10, 0.025))


def test_a_single_repetition_is_refused(made: MadeUp) -> None:
    for method in ("ngm-sgd", "sgd"):
        made.searched_and_confirmed(method, 0, (0.9, 0.1), [(0.9, 0.1)] * 3)
    loaded = made.load()
    with pytest.raises(UserError, match="searches = 1: the interval of a difference needs"):
        resolutions(loaded, searches=1, rivals=1)
    with pytest.raises(UserError, match="fewer than two complete repetitions with a rival"):
        resolutions(loaded, searches=5, rivals=1)
