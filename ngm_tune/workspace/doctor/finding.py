"""What is found of a file, and how it is put aside."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ngm_tune.results.directory import Results

Kind = Literal["damage", "newer", "unread", "note"]


class Finding(NamedTuple):
    """Something about a file.

    Attributes:
        name: The file, as seen from the directory.
        what: What is the matter with it.
        kind: ``damage``; ``newer`` for results of a later version and ``unread`` for what the disk
            or its permissions do not give, which both stay where they are; or ``note`` for what
            does no harm.
        mended: What was done about it; None if nothing was or can be.
    """

    name: str
    what: str
    kind: Kind = "damage"
    mended: str | None = None


def quarantine(results: Results, finding: Finding) -> Finding:
    """Move a damaged file to ``damaged/``; anything else stays where it is."""
    if finding.kind != "damage":
        return finding
    place = results.quarantine(finding.name)
    table = finding.name.partition("/")[0]
    then = {
        "trials": "; what the study lacks now is run again when it goes on",
        "checkpoints": "; its trial starts from its first task",
        "environment.json": "; written again when the study goes on",
    }.get(table, "")
    return finding._replace(mended=f"moved to {place}{then}")


def unread(results: Results, name: str, error: OSError) -> Finding:
    """A file that cannot be read; where all are behind a network, that is what is the matter."""
    if results.folder is None:
        raise error
    return Finding(name, f"cannot be read: {error.strerror or error}", "unread")
