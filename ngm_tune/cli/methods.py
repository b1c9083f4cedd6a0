"""Methods of one's own: ``ngm-tune new-method`` and ``check-method``."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ngm_tune.cli.app import app
from ngm_tune.cli.terminal import console
from ngm_tune.errors import UserError
from ngm_tune.messages import counted

if TYPE_CHECKING:
    from ngm_tune.testing.check import CheckResult


@app.command("new-method", epilog="Example:\n\n`ngm-tune new-method my.py`")
def new_method(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The Python file to write.")],
) -> None:
    """Write a file with a working method of your own, to be changed."""
    from ngm_tune.methods.new_file import write_template

    name = write_template(file)
    console.print(
        f"{file} has the method {name}. `ngm-tune check-method {quote(file)}` checks it; "
        f"`ngm-tune run STUDY --methods {quote(file)}` runs a study that names it."
    )


@app.command("check-method", epilog="Example:\n\n`ngm-tune check-method my.py`")
def check_method(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file with methods.")],
) -> None:
    """Check the methods of a file: can they be searched, trained and resumed?

    The runs of the checks are short, on Split-Digits and one CPU thread. Exit codes: 0 if every
    method passes every check, 1 otherwise, 2 for a file that cannot be used.
    """
    from ngm_tune.methods.files import MethodsFile
    from ngm_tune.methods.registry import current_registry

    source = MethodsFile.read(file)
    names = [method.name for method in current_registry().add_file(source)]
    try:
        from ngm_tune.testing.check import check_methods
    except ImportError as error:
        raise UserError(f"check-method: {error}") from error

    shown: set[str] = set()

    def show(result: CheckResult) -> None:
        if result.method not in shown:
            shown.add(result.method)
            console.print(result.method)
        marks = {"passed": "ok     ", "failed": "FAILED ", "skipped": "skipped"}
        console.print(f"  {marks[result.status]} {result.check}")
        if result.reason:
            console.print(f"          {result.reason}")

    results = check_methods(names, source.path, show)
    failed = sum(result.status == "failed" for result in results)
    if failed:
        console.print(f"{file}: {counted(failed, 'check')} of {len(results)} failed")
        raise typer.Exit(1)
    console.print(f"{file}: {', '.join(names)} can be searched, trained and resumed")
