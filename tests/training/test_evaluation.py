"""Continual evaluation in float32, bfloat16 and mixed precision."""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path

import pytest
import torch

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.benchmarks.models import MLP
from ngm_tune.methods import get_method
from ngm_tune.training import evaluation
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import StreamOptions

DIGITS = get_benchmark("split-digits").load()


def trained(precision: str, method: str = "ngm-sgd", **settings: float) -> ContinualTraining:
    run = ContinualTraining(
        DIGITS.train,
        Evaluator(DIGITS.test, precision),  # type: ignore[arg-type]
        get_benchmark("split-digits").build_model,
        partial(get_method(method).build, **settings),
        seed=0,
        iterations_per_task=60,
        stream=StreamOptions(batch_size=32),
    )
    while not run.finished:
        run.train_task()
    return run


@pytest.fixture
def _bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat this machine as hardware with bfloat16; the emulation is slow."""
    monkeypatch.setattr(evaluation, "has_bfloat16", lambda device: True)


def test_mixed_precision_is_float32_where_bfloat16_would_be_emulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for supported, precision in ((False, "float32"), (True, "mixed")):
        monkeypatch.setattr(evaluation, "has_bfloat16", lambda device, value=supported: value)
        assert Evaluator(DIGITS.test, "mixed").precision == precision
        assert Evaluator(DIGITS.test, "bfloat16").precision == "bfloat16"  # always as requested


def test_an_infinite_loss_does_not_change_other_tasks() -> None:
    class Certain(torch.nn.Module):
        """Gives the class of the first example of the first task a probability of zero."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(inputs), 10)
            logits[0, DIGITS.test.labels[0]] = -torch.inf
            return logits

    accuracy, loss, _ = Evaluator(DIGITS.test)(Certain(), range(3))
    assert loss[0] == torch.inf
    torch.testing.assert_close(loss[1:3], torch.full((2,), 10.0).log())
    assert accuracy[:3].isfinite().all()
    assert loss[3:].isnan().all()
    assert accuracy[3:].isnan().all()


def test_bfloat16_support_agrees_with_the_flags_of_the_processor() -> None:
    flags = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not flags.is_file():
        pytest.skip("not an x86 processor under Linux")
    supported = set(flags.read_text().split())
    expected = bool({"avx512_bf16", "amx_tile"} & supported)
    assert evaluation.has_bfloat16(torch.device("cpu")) == expected


@pytest.mark.usefixtures("_bfloat16")
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ngm-sgd", {"lr": 0.02, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9}),
        ("adam", {"lr": 0.003}),
    ],
)
def test_mixed_precision_gives_the_accuracy_of_float32(
    method: str, settings: dict[str, float]
) -> None:
    exact, mixed = trained("float32", method, **settings), trained("mixed", method, **settings)
    rough = trained("bfloat16", method, **settings)
    differs = False
    for a, b, c in zip(exact.records, mixed.records, rough.records, strict=True):
        assert torch.equal(a.accuracy.nan_to_num(-1), b.accuracy.nan_to_num(-1))
        torch.testing.assert_close(a.loss, b.loss, rtol=0.05, atol=0.01, equal_nan=True)
        # Training is in float32 with every precision of evaluation.
        assert torch.equal(a.steps.nan_to_num(-1), b.steps.nan_to_num(-1))
        differs |= not torch.equal(a.accuracy.nan_to_num(-1), c.accuracy.nan_to_num(-1))
    assert differs  # bfloat16 alone changes accuracies, so the test is sensitive


def test_any_subset_of_tasks_can_be_evaluated() -> None:
    torch.manual_seed(0)
    model = MLP((64, 20, 10), hidden_std=0.3, output_std=0.3)
    evaluate = Evaluator(DIGITS.test)
    whole = evaluate(model, range(5))
    for tasks in ([0], [0, 3], [1, 2], [4], [0, 1, 2, 3, 4]):
        evaluation = evaluate(model, tasks)
        others = [task for task in range(5) if task not in tasks]
        for values, expected in zip(evaluation, whole, strict=True):
            torch.testing.assert_close(values[tasks], expected[tasks])
        assert evaluation.accuracy[others].isnan().all()
        assert evaluation.loss[others].isnan().all()
        assert not evaluation.examples[others].any()


def test_scores_of_single_examples_agree_with_those_of_tasks() -> None:
    torch.manual_seed(0)
    model = MLP((64, 20, 10), hidden_std=0.3, output_std=0.3)
    evaluate = Evaluator(DIGITS.test)
    whole = evaluate(model, range(5))
    scores = evaluate.score(model, torch.tensor(evaluate.rows(2)))
    torch.testing.assert_close(scores.correct.float().mean(), whole.accuracy[2])
    torch.testing.assert_close(scores.loss.mean(), whole.loss[2])
    assert torch.equal(scores.margin > 0, scores.correct)


@pytest.mark.usefixtures("_bfloat16")
def test_nan_logits_give_a_nan_loss() -> None:
    model = MLP((64, 20, 10), hidden_std=0.3, output_std=0.3)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    for precision in ("float32", "mixed", "bfloat16"):
        loss = Evaluator(DIGITS.test, precision)(model, range(5)).loss  # type: ignore[arg-type]
        assert loss.isnan().all()
