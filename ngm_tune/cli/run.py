"""``ngm-tune run``."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ngm_tune.cli.app import app
from ngm_tune.cli.terminal import DataOption, console, counted, use_data_folder
from ngm_tune.execution.signals import SENT_BY_SCHEDULERS, graceful_signals, held

if TYPE_CHECKING:
    from ngm_tune.execution.driver import Ended
    from ngm_tune.search.fixed_runs import AnyArm


@app.command(
    epilog="Examples:\n\n"
    "`ngm-tune run quickstart`\n\n"
    "`ngm-tune run quickstart --set trials=4 --set seeds=1 --results /tmp/first-look`\n\n"
    "`ngm-tune run my-study.toml`"
)
def run(
    study: Annotated[
        str, typer.Argument(help="A study of `ngm-tune studies`, or the path of a TOML file.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace an entry of the study."),
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Where results go.", show_default="results/ and the study's name"
        ),
    ] = None,
    data: DataOption = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start",
            metavar="OTHER_RESULTS",
            help="Start every search from what another study found best for the method.",
        ),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            min=1e-3,
            max=1e5,
            help="Stop after this time; the same command goes on.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Ray cluster: auto, HOST:PORT or ray://HOST:PORT.",
            show_default="the environment variable RAY_ADDRESS, or else this machine",
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run those again that failed.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what Ray and its workers say.")
    ] = False,
) -> None:
    """Run a study, or go on with one that was interrupted.

    Exit codes: 0 when it is complete or its time is up, 1 when every run failed, 2 for what you can
    mend, 130 when it was stopped by SIGINT, SIGTERM or SIGUSR1.
    """
    use_data_folder(data)
    with _stoppable():
        # An import that an exception cuts off stays half made, and compiled modules swallow it.
        with held(signal.SIGINT, *SENT_BY_SCHEDULERS):
            from ngm_tune.cli.progress import progress_display
            from ngm_tune.execution.driver import drive
            from ngm_tune.study.files import load_study
            from ngm_tune.study.validation import small_spaces, without_effect
            from ngm_tune.workspace.warm_start import uneven_starts, warm_started

        loaded = load_study(study, set_ or []).resolved()
        location = f"results/{loaded.name}" if results is None else results
        if warm_start is not None:
            loaded, outside = warm_started(loaded, warm_start, location)
            console.print(
                f"{location} was started already and goes on; nothing is taken from {warm_start}"
                if outside is None
                else f"Starting from {counted(len(loaded.points), 'configuration')} of {warm_start}"
                + (f"; {outside} more have no place in what is searched here" if outside else "")
            )
        trials, seeds = counted(loaded.trials, "trial"), counted(len(loaded.seed_list), "seed")

        def show(arms: Sequence[AnyArm]) -> AbstractContextManager[None]:
            done = sum(len(arm.outcomes) for arm in arms)
            console.print(
                f"{loaded.name}: {trials} of {seeds} for each of "
                f"{counted(len(loaded.methods), 'method')} on {', '.join(loaded.benchmarks)}"
                + (
                    f"; {counted(done, 'run')} {'is' if done == 1 else 'are'} there already"
                    if done
                    else ""
                )
            )
            for notices in (uneven_starts, small_spaces, without_effect):
                for noticed in notices(loaded):
                    console.print(noticed)
            return progress_display(console, loaded, arms)

        ended = drive(
            loaded,
            location,
            address=address,
            time_budget=timedelta(hours=time_budget) if time_budget is not None else None,
            retry_failed=retry_failed,
            verbose=verbose,
            show=show,
            notice=console.print,
        )
        _say_how_it_ended(ended, loaded.name, location)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ends in one line, and the exit code of an interrupt, where a signal stops the study."""
    try:
        with graceful_signals():
            yield
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on.")
        raise typer.Exit(130) from None


def _say_how_it_ended(ended: Ended, name: str, location: str) -> None:
    if ended.already:
        console.print(f"{name} is complete: all {ended.done} runs are in {location}")
    if ended.already or not console.is_terminal:
        console.print(ended.standing)
    if not ended.complete:
        console.print(
            f"{'Time is up' if ended.timed_out else 'Stopped'} with {ended.done} of {ended.total} "
            "runs done. The same command goes on."
        )
        raise typer.Exit(0 if ended.timed_out else 130)
    if ended.failed:
        some = "All" if ended.failed == ended.done else f"{ended.failed} of"
        console.print(
            f"{some} {ended.done} runs failed; see {location}/failures. --retry-failed runs them "
            "again."
        )
    if not ended.already:
        elsewhere = " --output DIR" if "://" in location else ""
        console.print(
            f"Results are in {location}. `ngm-tune analyze {quote(location)}{elsewhere}` makes the "
            "report."
        )
    if ended.failed == ended.done:
        raise typer.Exit(1)
