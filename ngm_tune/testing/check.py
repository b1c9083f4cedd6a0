"""Run the conformance suite on methods outside of a test module: ``ngm-tune check-method``."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch

import pytest

from ngm_tune.errors import printable
from ngm_tune.testing.method_case import MethodTestCase

_MODULE = """
from ngm_tune.methods import get_method
from ngm_tune.testing import MethodTestCase
"""
_CLASS = """

class Test{index}(MethodTestCase):
    method = get_method({name!r})
"""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one method.

    Attributes:
        method: Name of the method.
        check: What is checked.
        status: Whether the method passed, failed, or the check does not apply to it.
        reason: Why the method failed, or why the check does not apply; otherwise empty.
    """

    method: str
    check: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""


def check_methods(
    methods: Sequence[str], path: str, report: Callable[[CheckResult], None]
) -> list[CheckResult]:
    """Run the conformance suite on methods of a file.

    Args:
        methods: Names of the methods.
        path: The file that the methods come from; failures name the line in it.
        report: Called with each result as soon as it is known.

    Returns:
        The results of all checks.
    """
    stdout = sys.stdout

    def show(result: CheckResult) -> None:
        with redirect_stdout(stdout):
            report(result)

    plugin = _Reporter(path, show)
    module = _MODULE + "".join(_CLASS.format(index=i, name=n) for i, n in enumerate(methods))
    output = StringIO()
    with (
        TemporaryDirectory(prefix="ngm-tune-") as folder,
        # Plugins and settings of the user's own tests must not change the suite.
        patch.dict(os.environ, {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}),
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        file = Path(folder, "test_methods.py")
        file.write_text(module, encoding="utf-8")
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        options = ["-c", f"{folder}/pytest.ini", "--rootdir", folder, "-p", "no:cacheprovider"]
        options += ["--capture=no", "--noconftest"]
        code = pytest.main([*options, str(file)], plugins=[plugin])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not plugin.results:
        raise RuntimeError(f"pytest ended with {code!r}: {output.getvalue()}")
    return plugin.results


class _Reporter:
    """A plugin of pytest that turns reports into results."""

    def __init__(self, path: str, report: Callable[[CheckResult], None]) -> None:
        self.results: list[CheckResult] = []
        self._path = path
        self._report = report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        outcome = yield
        if outcome.when == "call" or not outcome.passed:
            error = None if call.excinfo is None else call.excinfo.value
            self._add(item, outcome.outcome, "" if error is None else self._explain(error))
        return outcome

    def _add(self, item: Any, status: Any, reason: str) -> None:
        result = CheckResult(item.cls.method.name, _describe(item), status, reason)
        self.results.append(result)
        self._report(result)

    def _explain(self, error: BaseException) -> str:
        """Return the message of a failed check, or an exception and its line in the file."""
        if isinstance(error, AssertionError | pytest.fail.Exception | pytest.skip.Exception):
            text = str(error).partition("\nassert ")[0]
        else:
            text = f"{type(error).__name__}: {error}"
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == self._path]
        line = f"line {frames[-1].lineno}: " if frames else ""
        return printable(f"{line}{text}")


def _describe(item: Any) -> str:
    """Return the first sentence of a check's docstring, or else its name."""
    doc = (getattr(MethodTestCase, item.originalname).__doc__ or "").strip()
    sentence = printable(doc.partition("\n\n")[0]).replace("``", "").rstrip(".")
    parameters = item.callspec.id if hasattr(item, "callspec") else ""
    return f"{sentence} [{parameters}]" if parameters else sentence
