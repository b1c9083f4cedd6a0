"""Errors that the user can correct. The command line prints them as one line, with exit code 2."""


class UserError(Exception):
    """A request that cannot be carried out.

    The message names the file or the option, the key, the value and the allowed values.
    """

    @property
    def reason(self) -> str:
        """The message without the name of the file that it is about."""
        return str(self)

    def __str__(self) -> str:
        """Return the message on one line, without control characters."""
        return printable(super().__str__())


class FileError(UserError):
    """A file that cannot be used.

    Args:
        path: Path or URI of the file; for a study also the option or the name that it comes from.
        reason: Why the file cannot be used, without its path.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path

    @property
    def reason(self) -> str:
        """Why the file cannot be used, without its path."""
        return printable(str(self.args[1]))

    def __str__(self) -> str:
        """Return the path and the reason on one line, without control characters."""
        return printable(f"{self.path}: {self.args[1]}")


class ResultsFileError(FileError):
    """A file in a results directory that is damaged, unreadable or not part of the study."""


class NewerResultsError(ResultsFileError):
    """An intact file that a newer version of ngm-tune wrote."""


class StudyError(FileError):
    """An invalid study."""


class RecordError(UserError):
    """A search record in Optuna's storage that contradicts the results."""


def printable(text: str) -> str:
    """Return a text on one line; control characters, which a terminal would obey, are replaced."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
