"""``%cluster``: what the session has, how it behaves, its end."""

from __future__ import annotations

from IPython.core.error import UsageError
from IPython.core.magic import Magics, magics_class

from ipyactors.api import runtime
from ipyactors.api.cluster_report import ClusterReport, describe_cluster
from ipyactors.api.config import config
from ipyactors.notebook.magics.flags import flag, line_magic_with, parse_line
from ipyactors.notebook.magics.usage import as_usage_error


@magics_class
class ClusterMagics(Magics):  # type: ignore[misc]
    """The magic about the session as a whole."""

    @line_magic_with(
        flag("command", nargs="?", choices=["config", "end"], help="What to do; without it, show what there is."),
        flag("settings", nargs="*", metavar="NAME=VALUE", help="For config: what to change; without it, show them."),
    )
    def cluster(self, line: str) -> ClusterReport | dict[str, str] | None:
        """Show the session: its machines and what is held of them, its actors, what waits and why.

        %cluster config interrupt=keep: what an interrupted cell has submitted goes on (interrupt=cancel: it does not).
        %cluster end: end the session, its actors (detached ones too) and all its processes.

        In a script: ipyactors.describe_cluster(), ipyactors.config(interrupt="keep"),
        ipyactors.shutdown(everything=True).
        """
        __tracebackhide__ = "__ipython_bottom__"
        with as_usage_error():
            given = parse_line(self.cluster, line)
            if given.command == "config":
                return config(**dict(map(_setting, given.settings)))
        if given.settings:
            raise UsageError(f"%cluster{' end' if given.command else ''} takes nothing more. Nothing was done.")
        is_live = runtime.is_initialized()
        words = "" if is_live else runtime.without_session("no session")
        if given.command == "end" and words != "no session":
            runtime.shutdown(everything=True)
        elif is_live:
            return describe_cluster()
        else:
            print(words)
        return None


def _setting(words: str) -> tuple[str, str]:
    name, equals, value = words.partition("=")
    if not equals:
        raise UsageError(f"{words!r}: write NAME=VALUE, as interrupt=keep. Nothing was changed.")
    return name, value
