"""What a running study looks like in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ngm_tune.metrics.pareto import hypervolume, knee
from ngm_tune.search.fixed_runs import AnyArm, GivenArm
from ngm_tune.search.method_search import Arm
from ngm_tune.study.study import Study


@contextmanager
def progress_display(console: Console, study: Study, arms: Sequence[AnyArm]) -> Iterator[None]:
    """Show trials done, best trade-offs and time left while the context lasts.

    Nothing is shown where ``console`` is no terminal.
    """
    if not console.is_terminal:
        yield
        return
    started = time.monotonic()
    done_before = sum(len(arm.outcomes) for arm in arms)

    def render() -> RenderableType:
        elapsed = time.monotonic() - started
        return Group(standing(study, arms), _clock(arms, done_before, elapsed))

    with Live(get_renderable=render, console=console, refresh_per_second=2):
        yield


def standing(study: Study, arms: Sequence[AnyArm]) -> Table:
    """A table of the methods: runs finished, and the best trade-off among them.

    Values are those of the search or, for given settings, of the test data.
    """
    objectives, reference_point = study.objective_metrics, study.reference_point
    searched = any(isinstance(arm, Arm) for arm in arms)
    confirmed = {(arm.benchmark, arm.method.name): arm for arm in arms if isinstance(arm, GivenArm)}
    table = Table(box=None, pad_edge=False, header_style="dim")
    several = len(study.benchmarks) > 1
    if several:
        table.add_column("benchmark", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("", width=16)
    table.add_column("runs" if study.racing else "trials", justify="right")
    if searched and confirmed:
        table.add_column("confirmed", justify="right")
    for metric in objectives:
        table.add_column(metric.title.lower(), justify="right")
    table.add_column("hypervolume", justify="right")
    former = None
    for arm in arms:
        if searched and isinstance(arm, GivenArm):
            continue
        row: list[RenderableType] = [
            arm.method.title,
            ProgressBar(total=arm.total, completed=len(arm.outcomes), width=16),
            f"{len(arm.outcomes)}/{arm.total}",
        ]
        if searched and confirmed:
            again = confirmed[arm.benchmark, arm.method.name]
            row.append(f"{len(again.outcomes)}/{again.total}")
        values = arm.values
        if values:
            best = values[knee(values, objectives, reference_point)]
            volume = hypervolume(values, objectives, reference_point)
            row += [f"{value:.3f}" for value in (*best, volume)]
        if several:
            row.insert(0, arm.benchmark if arm.benchmark != former else "")
            former = arm.benchmark
        table.add_row(*row)
    table.caption = "values at the trade-off nearest to the ideal" + (
        ", on validation data" if searched else ""
    )
    table.caption_justify = "left"
    return table


def _clock(arms: Sequence[AnyArm], done_before: int, elapsed: float) -> Text:
    total = sum(arm.total for arm in arms)
    done = sum(len(arm.outcomes) for arm in arms)
    left = "?"
    if done > done_before:
        left = _duration(elapsed / (done - done_before) * (total - done))
    return Text(f"{done} of {total} runs, {_duration(elapsed)} elapsed, {left} left", style="dim")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
