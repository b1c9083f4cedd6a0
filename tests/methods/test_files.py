"""Methods in Python files: registration, and files that cannot be used."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from ray import cloudpickle
from torch import nn

from ngm_tune.errors import FileError
from ngm_tune.methods import get_method, methods
from ngm_tune.methods.files import MethodsFile
from ngm_tune.methods.new_file import write_template
from ngm_tune.methods.registry import current_registry
from ngm_tune.methods.template import my_method
from ngm_tune.testing import MethodTestCase

METHOD = """
    from __future__ import annotations

    import sys
    from dataclasses import dataclass

    from optuna.distributions import FloatDistribution
    from torch.optim import SGD

    from ngm_tune.methods import Method, get_method

    sys.executions = getattr(sys, "executions", 0) + 1


    @dataclass
    class Build:
        momentum: float = 0.5

        def __call__(self, model, lr):
            if lr > 1:
                raise ValueError("too fast")
            return SGD(model.parameters(), lr=lr, momentum=self.momentum)


    mine = Method(
        name="mine",
        title="Mine",
        source="tests",
        space={"lr": FloatDistribution(0.01, 0.1, log=True)},
        build=Build(),
    )
    again = mine
    shipped = get_method("adam")
"""


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    current_registry.cache_clear()
    yield
    current_registry.cache_clear()


def write(folder: Path, text: str = METHOD, name: str = "my.py") -> MethodsFile:
    path = folder / name
    path.write_text(dedent(text))
    return MethodsFile.read(path)


def test_a_file_adds_its_own_methods_and_is_executed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executions", 0, raising=False)
    file = write(tmp_path)
    for _ in range(2):
        assert [method.name for method in current_registry().add_file(file)] == ["mine"]
    assert sys.executions == 1  # type: ignore[attr-defined]
    assert get_method("mine").title == "Mine"
    assert current_registry().origins["mine"] == str(tmp_path / "my.py")
    assert current_registry().file_of("adam") is None


def test_a_file_reaches_a_process_that_does_not_have_it(tmp_path: Path) -> None:
    """Its text is pickled; tracebacks show its lines; a class of it can be pickled."""
    file = write(tmp_path)
    (tmp_path / "my.py").unlink()
    received = cloudpickle.loads(cloudpickle.dumps(file))
    current_registry().add_file(received)
    with pytest.raises(ValueError, match="too fast") as raised:
        get_method("mine").build(nn.Linear(2, 2), lr=2.0)
    lines = "".join(traceback.format_exception(raised.value))
    assert 'my.py", line 21, in __call__' in lines
    assert 'raise ValueError("too fast")' in lines
    assert cloudpickle.loads(cloudpickle.dumps(get_method("mine"))).name == "mine"
    assert (received.sha256, received.module_name) == (file.sha256, file.module_name)


def test_a_changed_file_replaces_its_methods(tmp_path: Path) -> None:
    current_registry().add_file(write(tmp_path))
    changed = METHOD.replace('"Mine"', '"Changed"').replace("again = mine", "")
    current_registry().add_file(write(tmp_path, changed))
    assert get_method("mine").title == "Changed"
    current_registry().add_file(write(tmp_path, changed.replace('"mine"', '"other"')))
    assert "mine" not in methods()
    assert get_method("other").title == "Changed"


def test_a_broken_version_of_a_file_replaces_nothing(tmp_path: Path) -> None:
    current_registry().add_file(write(tmp_path))
    with pytest.raises(FileError):
        current_registry().add_file(write(tmp_path, METHOD.replace('"mine"', '"sgd"')))
    assert get_method("mine").title == "Mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef build(:\n", "line 2: SyntaxError: invalid syntax"),
        ("x = 1\ny = z\n", "line 2: NameError: name 'z' is not defined"),
        ("def f():\n    raise SystemExit(3)\n\n\nf()\n", "line 2: SystemExit: 3"),
        ("import not_installed\n", "line 1: ModuleNotFoundError: .*installed packages only"),
        ("x = 1\n", "has no method; assign an ngm_tune.methods.Method to a variable"),
        ("from ngm_tune.methods import get_method\nm = get_method('sgd')\n", "has no method"),
        (METHOD.replace('"mine"', '"sgd"'), "mine has the name 'sgd' of a method of ngm-tune"),
        (METHOD.replace('"mine"', '"a b"'), "line 25: ValueError: Invalid method name: 'a b'"),
        (
            METHOD + "    from dataclasses import replace\n    two = replace(mine, title='Two')\n",
            "two has the name 'mine' of a method of the same file",
        ),
        ("x = 1\0\n", "null bytes"),
    ],
)
def test_a_file_without_usable_methods_is_one_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    before = dict(methods())
    with pytest.raises(FileError, match=rf"^{tmp_path}/my\.py: .*{message}"):
        current_registry().add_file(write(tmp_path, text))
    assert methods() == before


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"x = '\xe4'\n")
    (tmp_path / "study.toml").touch()
    for name, message in (
        ("none.py", "no such file; `ngm-tune new-method .*none.py` writes a template"),
        ("", "is a folder"),
        ("study.toml", "its name must end in .py"),
        ("latin.py", "cannot be read: invalid or missing encoding"),
    ):
        with pytest.raises(FileError, match=message):
            MethodsFile.read(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "method", "title"),
    [
        ("my.py", "my-method", "My method"),
        ("fast_Sgd 2.py", "fast_sgd-2", "Fast sgd 2"),
        ("adam.py", "my-adam", "My adam"),
        ("r2.py", "my-r2", "My r2"),
    ],
)
def test_a_template_is_a_method_named_after_its_file(
    tmp_path: Path, file: str, method: str, title: str
) -> None:
    path = tmp_path / file
    assert write_template(str(path)) == method
    (added,) = current_registry().add_file(MethodsFile.read(path))
    assert (added.name, added.title) == (method, title)
    content = path.read_text()
    assert "FILE" not in content
    with pytest.raises(FileError, match="exists"):
        write_template(str(path))
    assert path.read_text() == content


def test_a_template_needs_a_folder_and_the_name_of_a_python_file(tmp_path: Path) -> None:
    for name, message in (("a/my.py", "cannot be written: No such file"), ("my", r"end in \.py")):
        with pytest.raises(FileError, match=message):
            write_template(str(tmp_path / name))


class TestTemplate(MethodTestCase):
    """The method of the template passes every check."""

    method = my_method
