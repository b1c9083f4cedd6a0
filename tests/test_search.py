"""The arms of a study as a search algorithm of Ray Tune."""

from __future__ import annotations

from pathlib import Path

from ray.tune.search import Searcher

from ngm_tune.search import FairSearcher

from .test_arms import arm


def test_the_searcher_serves_all_arms_equally(tmp_path: Path) -> None:
    arms = [arm(tmp_path / "a", name, trials=4) for name in ("sgd", "adam", "ngm-sgd")]
    searcher = FairSearcher(arms, lambda proposal: {"id": proposal.trial_id})
    for round_ in range(4):
        ids = [f"t{round_}{n}" for n in range(3)]
        configs = [searcher.suggest(tune_id) for tune_id in ids]
        assert [c["id"] for c in configs] == [
            f"split-digits.{name}.{round_:04d}" for name in ("sgd", "adam", "ngm-sgd")
        ]
        if round_ < 3:
            assert searcher.suggest("waits") is None
        for tune_id in ids:
            searcher.on_trial_complete(tune_id, {"status": "completed", "values": (0.5, 0.5)})
    assert searcher.suggest("none") == Searcher.FINISHED
    assert [len(a.outcomes) for a in arms] == [4, 4, 4]


def test_the_searcher_counts_a_trial_that_raised_and_reopens_one_cut_off(tmp_path: Path) -> None:
    searched = arm(tmp_path / "a", trials=1)
    searcher = FairSearcher([searched], lambda proposal: {"id": proposal.trial_id})
    config = searcher.suggest("t1")
    searcher.on_trial_complete("t1")
    assert searched.outcomes == []
    assert searcher.suggest("t2") == config
    searcher.on_trial_complete("t2", error=True)
    assert [o.status for o in searched.outcomes] == ["failed"]
