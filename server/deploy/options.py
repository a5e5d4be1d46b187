"""What ``fedrounds server`` can be told beside the run's settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from common.errors import SettingsError
from common.schema import suggest
from server.provision.consortium import Consortium
from server.provision.settings import parse_words


@dataclass(frozen=True)
class ServerOptions:
    """How this machine serves, and whom; none of it is sent to a site."""

    proxy: bool = True
    """Start nginx here; false where another process forwards ``/v1/fleet/`` to the SuperLink."""
    wait_seconds: float = 600.0
    """How long to wait for the sites before round 1, and for their approval."""
    sites: tuple[str, ...] = ()
    """The sites that take part; by default all that are registered, and of a run that goes on those
    that it was begun with."""


def split_words(words: Sequence[str]) -> tuple[ServerOptions, list[str]]:
    """Take the server's own words out of ``words``; the rest are the run's settings.

    Raises:
        SettingsError: where one of them has a wrong value.
    """
    own = {field.name for field in fields(ServerOptions)}
    mine = [word for word in words if word.partition("=")[0] in own]
    options = parse_words(ServerOptions, mine)
    if options.wait_seconds <= 0:
        raise SettingsError(f"wait_seconds: expected above 0, got {options.wait_seconds:g}")
    return options, [word for word in words if word not in mine]


def choose_sites(
    options: ServerOptions,
    registered: dict[int, str],
    consortium: Consortium,
    begun: Sequence[str] = (),
) -> dict[int, str]:
    """The nodes of the sites that take part.

    Args:
        options: may name them.
        registered: node id to site, of each that has a key.
        consortium: which sites there are.
        begun: those that a run was begun with which goes on; it takes no others.

    Raises:
        SettingsError: where a site is unknown or has no key, or none is left.
    """
    here = set(registered.values())
    problems = []
    for site in options.sites:
        if site not in consortium.sites:
            problems.append(f"sites: '{site}' is no site{suggest(site, consortium.sites)}")
        elif site not in here:
            problems.append(f"sites: '{site}' has no registered key")
    if not here:
        problems.append(
            "no site has a registered key yet: 'fedrounds provision register COORDINATOR SITE KEY'"
        )
    if problems:
        raise SettingsError(problems)
    chosen = set(options.sites) or (here & set(begun)) or here
    return {node_id: site for node_id, site in registered.items() if site in chosen}
