"""Errors that are the user's to mend: the command line shows them as one sentence, exit code 2."""


class UserError(Exception):
    """Something the user asked for cannot be done; the message says what, where and what is."""

    def __str__(self) -> str:
        """The message on one line, whatever was quoted in it."""
        return printable(super().__str__())


class NewerResultsError(UserError):
    """Results are of a later version of ngm-tune than this, and as they should be."""


class RecordError(UserError):
    """What Optuna's storage says of a search does not go with the results."""


def printable(text: str) -> str:
    """A text on one line and without control characters, which a terminal would act on."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
