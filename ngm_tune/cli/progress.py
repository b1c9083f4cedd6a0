"""Live display of a running study in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ngm_tune.execution.summary import MethodState, method_states
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.study.study import Study


@contextmanager
def progress_display(
    console: Console, study: Study, sources: Sequence[RunSource]
) -> Iterator[None]:
    """Display ended runs, knee points and the remaining time within the context.

    Display nothing if ``console`` is not a terminal.
    """
    if not console.is_terminal:
        yield
        return
    started = time.monotonic()
    done_before = sum(len(source.outcomes) for source in sources)

    def render() -> RenderableType:
        elapsed = time.monotonic() - started
        table = state_table(study, method_states(study, sources))
        return Group(table, _clock(sources, done_before, elapsed))

    with Live(get_renderable=render, console=console, refresh_per_second=2):
        yield


def state_table(study: Study, methods: Sequence[MethodState]) -> Table:
    """Return a table with the ended runs and the knee of the front of each method."""
    several = len(study.benchmarks) > 1
    confirms = any(state.confirmed is not None for state in methods)
    table = Table(box=None, pad_edge=False, header_style="dim")
    if several:
        table.add_column("benchmark", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("", width=16)
    table.add_column("runs" if study.racing else "trials", justify="right")
    if confirms:
        table.add_column("confirmed", justify="right")
    for metric in study.objective_metrics:
        table.add_column(metric.title.lower(), justify="right")
    table.add_column("hypervolume", justify="right")
    previous = None
    for state in methods:
        row: list[RenderableType] = [
            state.title,
            ProgressBar(total=state.total, completed=state.done, width=16),
            f"{state.done}/{state.total}",
        ]
        if confirms:
            done, total = state.confirmed or (0, 0)
            row.append(f"{done}/{total}")
        if state.best is not None:
            row += [f"{value:.3f}" for value in (*state.best, state.hypervolume)]
        if several:
            row.insert(0, state.benchmark if state.benchmark != previous else "")
            previous = state.benchmark
        table.add_row(*row)
    table.caption = "values at the knee, the point of the front nearest to the ideal" + (
        ", on validation data" if study.settings is None else ""
    )
    table.caption_justify = "left"
    return table


def _clock(sources: Sequence[RunSource], done_before: int, elapsed: float) -> Text:
    total = sum(source.total for source in sources)
    done = sum(len(source.outcomes) for source in sources)
    left = "?"
    if done > done_before:
        left = _duration(elapsed / (done - done_before) * (total - done))
    return Text(f"{done} of {total} runs, {_duration(elapsed)} elapsed, {left} left", style="dim")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
