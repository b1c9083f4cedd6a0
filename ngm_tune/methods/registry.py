"""The registry of methods: built-in, of installed packages, and of files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from ngm_tune.errors import FileError, printable
from ngm_tune.methods.built_in import BUILT_IN
from ngm_tune.methods.files import MethodsFile
from ngm_tune.methods.method import Method
from ngm_tune.methods.named import is_named

_GROUP = "ngm_tune.methods"
_RESERVED = "the name of an optimizer of a library"


@dataclass(frozen=True)
class BrokenEntryPoint:
    """An entry point whose method cannot be used.

    Attributes:
        method: Name of the method that it stands for, or else of the entry point.
        reason: Why the method cannot be used, with the name of the entry point and its package.
    """

    method: str
    reason: str


@dataclass
class Registry:
    """Methods by name, and where they come from.

    Attributes:
        methods: Methods by name.
        origins: Where a method comes from: ``ngm-tune``, a distribution and its version, or the
            path of a file; by name of the method.
        broken: Entry points whose methods cannot be used.
        files: Files whose methods are registered, in the order in which they were added.
    """

    methods: dict[str, Method]
    origins: dict[str, str]
    broken: list[BrokenEntryPoint] = field(default_factory=list)
    files: list[MethodsFile] = field(default_factory=list)

    @classmethod
    def built_in(cls) -> Registry:
        """Return a registry of the methods that ngm-tune ships."""
        by_name = {method.name: method for method in BUILT_IN}
        return cls(by_name, dict.fromkeys(by_name, "ngm-tune"))

    def add_entry_point(self, entry_point: EntryPoint) -> None:
        """Add the method of an installed package, or record why it cannot be used."""
        origin = _origin(entry_point)
        subject = f"the entry point {entry_point.name} = {entry_point.value} of {origin}"
        try:
            method = entry_point.load()
        except (Exception, SystemExit) as error:  # a module can raise anything when it is imported
            cause = printable(f"{type(error).__name__}: {error}")
            self._reject(entry_point.name, f"{subject} cannot be loaded: {cause}")
            return
        if not isinstance(method, Method):
            self._reject(entry_point.name, f"{subject} is not an ngm_tune.methods.Method")
        elif is_named(method.name):
            self._reject(method.name, f"{subject}: {method.name!r} is {_RESERVED}")
        elif method.name in self.methods:
            other = self.origins.get(method.name, "ngm-tune")
            self._reject(
                method.name, f"{subject}: the method {method.name!r} already exists, of {other}"
            )
        else:
            self.methods[method.name] = method
            self.origins[method.name] = origin

    def _reject(self, method: str, reason: str) -> None:
        self.broken.append(BrokenEntryPoint(method, reason))

    def add_file(self, file: MethodsFile) -> list[Method]:
        """Add the methods of a file.

        The methods replace those of the same file with an earlier text. A method that the file
        took from this registry is not one of its own.

        Returns:
            The methods of the file.

        Raises:
            FileError: The file cannot be executed or has no method of its own, or another method
                has the name of one of its methods.
        """
        if file not in self.files:
            self._replace(file, self._check(file))
        return [method for name, method in self.methods.items() if self.file_of(name) == file]

    def _check(self, file: MethodsFile) -> dict[str, Method]:
        """Return the methods of a file by name, or raise if they cannot be added."""
        others = {n: m for n, m in self.methods.items() if self.origins.get(n) != file.path}
        known = {id(method) for method in others.values()}
        added: dict[str, Method] = {}
        for variable, method in file.load().items():
            if id(method) in known:
                continue
            if is_named(method.name):
                raise FileError(
                    file.path, f"the method {variable} has the name {method.name!r}, {_RESERVED}"
                )
            if method.name in added or method.name in others:
                origin = self.origins.get(method.name, "ngm-tune")
                owner = "the same file" if method.name in added else origin
                raise FileError(
                    file.path,
                    f"the method {variable} has the name {method.name!r} of a method of {owner}; "
                    "it must have a name of its own",
                )
            added[method.name] = method
        if not added:
            raise FileError(
                file.path,
                "has no method; assign an ngm_tune.methods.Method to a variable at its top level",
            )
        return added

    def _replace(self, file: MethodsFile, added: dict[str, Method]) -> None:
        for name in [name for name, origin in self.origins.items() if origin == file.path]:
            del self.methods[name], self.origins[name]
        self.files = [other for other in self.files if other.path != file.path] + [file]
        self.methods.update(added)
        self.origins.update(dict.fromkeys(added, file.path))

    def file_of(self, name: str) -> MethodsFile | None:
        """Return the file of a method; None for a built-in method or one of a package."""
        origin = self.origins.get(name)
        return next((file for file in self.files if file.path == origin), None)

    def explain_missing(self, name: str) -> str | None:
        """Return why a method cannot be used; None if it can, or if nothing has its name.

        A name that two packages claim stands for neither of their methods: nobody could tell which
        of them a study compares. A method of a file is used instead of a broken entry point.
        """
        if self.file_of(name) is not None:
            return None
        return next((broken.reason for broken in self.broken if broken.method == name), None)


@cache
def current_registry() -> Registry:
    """Return the registry of this process."""
    found = Registry.built_in()
    for entry_point in entry_points(group=_GROUP):
        found.add_entry_point(entry_point)
    return found


def _origin(entry_point: EntryPoint) -> str:
    """Return the distribution of an entry point and its version."""
    distribution = entry_point.dist
    if distribution is None:
        return "an unknown package"
    return f"{distribution.name} {distribution.version}"
