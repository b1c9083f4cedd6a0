"""Errors that are the user's to mend: the command line shows them as one sentence, exit code 2."""


class UserError(Exception):
    """Something the user asked for cannot be done; the message says what, where and what is."""
