"""Make the path of data absolute, so that recorded data is found from other folders, too."""

from __future__ import annotations

from pathlib import Path

from bmc.errors import UnknownError

_FOLDERS = ("imagefolder", "audiofolder", "hf")


def location_of(reference: str) -> str | None:
    """Return a reference whose path is absolute; None for a name, which is the same anywhere."""
    prefix, path = _parts(reference)
    if not path or not _exists(path):
        return None
    absolute = str(Path(path).absolute())
    if prefix == "hf:" and set(absolute) & {"@", ":"}:  # there they begin a revision
        return None
    return prefix + absolute


def locate(reference: str, location: str | None, owner: str) -> str:
    """Return how recorded data can be loaded from the present folder.

    Args:
        reference: the reference as the user typed it when the data was recorded.
        location: the same with an absolute path, if it was recorded.
        owner: model or bundle that was made from the data, for the message.

    Raises:
        UnknownError: a file or folder is neither where it was nor below the present folder.
    """
    for known in (location, reference):
        path = _parts(known)[1] if known else ""
        is_name = known == reference and not path and not location
        if known and (is_name or (path and _exists(path))):
            return known
    path = _parts(location or reference)[1]
    elsewhere = f", nor {_parts(reference)[1]!r} from here" if location != reference else ""
    kind = "FILE" if ":" not in reference else f"{reference.partition(':')[0]}:DIR"
    raise UnknownError(
        f"the data of {owner} is not at {path!r}{elsewhere if location else ''}; "
        f"say where it is now with --data {kind}"
    )


def _parts(reference: str) -> tuple[str, str]:
    """Return a reference's prefix and path; no path where it is the name of a data set."""
    prefix, colon, rest = reference.partition(":")
    if colon and prefix == "hf":
        # A local folder is typed as a path or is there; else it is the name of a repository.
        local = rest.startswith((".", "/", "~")) or Path(rest).is_dir()
        return (f"{prefix}:", rest) if local else (f"{prefix}:", "")
    if colon and prefix in _FOLDERS:
        return f"{prefix}:", rest
    return ("", reference) if Path(reference).suffix else ("", "")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
