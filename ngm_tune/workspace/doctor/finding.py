"""Findings about the files of a results directory, and the quarantine of damaged files."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ngm_tune.results.directory import Results

Kind = Literal["damage", "newer", "unreadable", "note"]


class Finding(NamedTuple):
    """A finding about a file or folder.

    Attributes:
        name: Path of the file, relative to the results directory.
        description: The problem, as a phrase that follows the path.
        kind: ``damage``; ``newer`` for a file of a newer version of ngm-tune; ``unreadable`` for a
            file that cannot be read because of its disk or its permissions; or ``note`` for a
            harmless finding. Only damage is repaired.
        repair: How the doctor repaired the damage; None without a repair.
    """

    name: str
    description: str
    kind: Kind = "damage"
    repair: str | None = None


def quarantine(results: Results, finding: Finding) -> Finding:
    """Quarantine a damaged file and add the repair to its finding.

    A finding of another kind is returned unchanged.
    """
    if finding.kind != "damage":
        return finding
    quarantined = results.quarantine(finding.name)
    folder_or_file = finding.name.partition("/")[0]
    consequence = {
        "trials": "; resuming the study repeats the runs that are missing",
        "checkpoints": "; its run restarts from the first task",
        "environment.json": "; resuming the study writes a new one",
    }.get(folder_or_file, "")
    return finding._replace(repair=f"moved to {quarantined}{consequence}")


def report_unreadable(results: Results, name: str, error: OSError) -> Finding:
    """Return the finding that a local file cannot be read.

    Raises:
        OSError: The results are remote. The connection is at fault, which concerns all files.
    """
    if results.folder is None:
        raise error
    return Finding(name, f"cannot be read: {error.strerror or error}", "unreadable")
