"""What may be given as ``checkpoint_store``, read and refused by its looks; and whether this Python can write there.

``fsspec`` is only imported for what is neither a folder nor the head: it, and what it brings, take from a tenth to a
third of a second to load.
"""

from __future__ import annotations

import os
import re
import warnings

from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.options import nearest
from ipyactors.ground.tracebacks import frames_of_ours

#: The word for the head's key-value store.
KV = "kv"

#: The protocol of folders, for which no package is needed.
FILE = "file"

#: The protocol of what is gone with its process.
MEMORY = "memory"

#: What it is called among the options of an actor.
OPTION = "checkpoint_store"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_LOGIN = re.compile(r"(://[^/@:]*):[^/]*@")

#: The extra of this package that brings what a protocol needs.
_EXTRAS = {"sftp": "sftp", "ssh": "sftp", "s3": "s3", "s3a": "s3"}

#: What fsspec can read and not write, or not alone.
_UNFIT = frozenset({"http", "https", "data", "github", "gist", "git", "reference", "zip", "tar", "libarchive"})


def check_url(url: str) -> None:
    """Raise OptionError unless checkpoints can be kept there as far as can be seen from here, without connecting.

    A folder is made. Imports what another protocol needs: whether its server is there, and lets us in, shows at the
    first checkpoint. Warns of a place that does not outlive the actor's process.
    """
    if not url or url == KV:
        return
    protocol, rest = split(url)
    if protocol == FILE:
        _check_folder(url, rest)
    elif protocol == MEMORY:
        warnings.warn(
            f"{OPTION}={url!r}: what is in memory:// is gone with the process that has put it there. An actor that "
            "restarts then has no checkpoint and replays its whole log, which is kept from the beginning on. It is for "
            "tests. Leave checkpoint_store away for a folder beside the log, or use 'kv' or a URL of another kind.",
            stacklevel=frames_of_ours(),
        )
    else:
        _check_implementation(url, protocol)


def split(url: str) -> tuple[str, str]:
    """Return a URL's protocol, in lower case, and the rest; of an absolute path :data:`FILE` and the path.

    Raises OptionError for what no store can be at.
    """
    if os.path.isabs(url):
        return FILE, url
    match = _URL.fullmatch(url)
    is_folder = match is not None and match[1].lower() in {FILE, "local"}
    if "::" in url and not is_folder:
        raise _refused(url, "one place is needed, not a chain of file systems")
    if match is None:
        absolute = os.path.abspath(os.path.expanduser(url))
        raise _refused(url, f"a relative path means another place in each process: write {FILE + '://' + absolute!r}")
    protocol, rest = match[1].lower(), match[2]
    if is_folder:
        if not rest.startswith("/"):
            raise _refused(url, f"a file URL has three slashes before the absolute path: write 'file:///{rest}'?")
        return FILE, rest
    if "?" in url:
        raise _refused(
            url,
            "options are not part of the URL; they come from the environment or from fsspec's own files, as in "
            f"FSSPEC_{protocol.upper()}_<OPTION>=value",
        )
    if not rest.strip("/") and protocol != MEMORY:
        raise _refused(url, "it names no place")
    if protocol in _UNFIT:
        raise _refused(url, f"{protocol} cannot be written to")
    return protocol, rest


def shown(url: str) -> str:
    """Return a URL as it may be shown: without its password."""
    return _LOGIN.sub(r"\1:***@", url)


def _check_folder(url: str, path: str) -> None:
    """Raise OptionError unless there is such a folder, or can be, that files can be put into."""
    why = ""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except FileExistsError:
        why = f"{path} is no folder"
    except (OSError, ValueError) as error:
        why = f"the folder cannot be made: {error.strerror if isinstance(error, OSError) else error}"
    else:
        if not os.access(path, os.W_OK | os.X_OK):
            why = "nothing can be written into that folder: Permission denied"
    if why:
        raise OptionError(
            f"{OPTION}={url!r}: {why}. No actor was made. Name another folder, or leave the option out: then "
            "checkpoints are kept beside the actor's log.",
            option=OPTION,
        )


def _check_implementation(url: str, protocol: str) -> None:
    from fsspec.registry import available_protocols, get_filesystem_class, known_implementations

    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        if protocol in _EXTRAS:
            remedy = f'pip install "ipyactors[{_EXTRAS[protocol]}]"'
        else:
            known = known_implementations.get(protocol, {})
            remedy = str(known.get("err") or f"pip install {known.get('class', '').partition('.')[0]}")
        raise _refused(
            url, f"a package is missing or does not load ({error.__cause__ or error}). What helps: {remedy}"
        ) from error
    except ValueError as error:
        near = nearest(protocol, available_protocols())
        raise _refused(url, f"there is no protocol {protocol!r}.{near}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise _refused(url, f"what fsspec has for {protocol} does not load ({what})") from error


def _refused(url: str, why: str) -> OptionError:
    takes = "'kv', or a URL such as 'file:///folder', 'sftp://host/folder' or 's3://bucket/prefix'"
    return OptionError(f"{OPTION}={shown(url)!r}: takes {takes}; {why}", option=OPTION)
