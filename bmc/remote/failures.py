"""Say why a machine cannot be measured on, from what ssh and the program there say."""

from __future__ import annotations

from bmc.errors import BmcError, MissingError
from bmc.remote.destination import Destination


def failure_of(destination: Destination, code: int, said: list[str], was_open: bool) -> BmcError:
    """Return the error for a connection that failed.

    Args:
        destination: the machine.
        code: exit code of ssh: 255 for an error of ssh itself, below 0 if ssh was killed, else that
            of the program.
        said: lines that ssh and the program wrote to stderr.
        was_open: whether the program has run there.
    """
    name, text = destination.text, "\n".join(said)
    reason = said[-1] if said else f"ssh ended with code {code}"
    if was_open:
        if code != 255 and code >= 0:
            return death_of(destination, code, said)
        return MissingError(
            f"the connection to {name} was cut ({reason:.200}); nothing was kept here, and what "
            "ran there ends within a minute: run the command again"
        )
    if "Host key verification failed" in text or "REMOTE HOST IDENTIFICATION" in text:
        changed = "REMOTE HOST IDENTIFICATION" in text
        problem = "has another host key than before" if changed else "has an unknown host key"
        return MissingError(
            f"{name} {problem}; compare its fingerprint, and log in once by hand: "
            f"{destination.by_hand}"
        )
    if "Permission denied" in text:
        port = f"-p {destination.port} " if destination.port else ""
        return MissingError(
            f"{name} accepts no key of yours, and bmc types no password; "
            f"ssh-copy-id {port}{destination.login} installs one"
        )
    return MissingError(
        f"{name} cannot be reached ({reason:.200}); find out why with {destination.by_hand}"
    )


def death_of(destination: Destination, code: int, said: list[str]) -> BmcError:
    """Return the error for a program that ended on a machine.

    Args:
        destination: the machine.
        code: exit code of the program; below 0 if a signal ended it.
        said: lines that the program wrote to stderr.
    """
    reason = said[-1] if said else "no message"
    return BmcError(
        f"the runner on {destination.text} ended with code {code} ({reason:.200}); "
        f"{destination.by_hand} shows whether its memory suffices"
    )
