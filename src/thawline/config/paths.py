"""Paths that cannot be used: why, in words, and the command that helps."""

import errno
import os
import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from thawline.config.errors import UserError

_SHOWN = 3


def expanded(path: str | Path) -> Path:
    """Return the path with `~` and `~NAME` as the home folders they stand for, unless nobody is called so."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def missing(path: Path) -> str:
    """Say that there is nothing at `path`, and where a link on the way to it leads nowhere."""
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            return f"{shown(path)} does not exist: {shown(each)} is a link to {shown(each.readlink())}"
    return f"{shown(path)} does not exist"


def why_inaccessible(path: Path) -> str | None:
    """Say why the system does not tell what lies at `path`; None where it does, also that nothing does."""
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP):
            return None
        if error.errno in (errno.EACCES, errno.EPERM):
            return "a folder on the way to it may not be entered (permissions)"
        if error.errno == errno.ENAMETOOLONG:
            return "this name is too long for the system"
        return error.strerror or type(error).__name__
    return None


def require_accessible(path: Path) -> None:
    """Raise `UserError` where the system does not tell what lies at `path`."""
    if (why := why_inaccessible(path)) is not None:
        raise UserError(f"{shown(path)} cannot be looked at: {why}.")


def require_watchable(path: Path) -> None:
    """Raise `UserError` if DVC could not tell whether what lies at `path` has changed.

    It ends at the first link that leads nowhere, at names that are not UTF-8 and at files it may not read,
    with the words of the system, and waits for ever at a pipe.
    """
    if not path.exists():
        raise UserError(f"{missing(path)}.")
    if not is_nameable(path):
        raise UserError(
            f"{shown(path)}: params.yaml cannot hold this path, which is not UTF-8 or has '${{' in it.\n"
            f"  rename the folder, or make a link and give that: ln -s {_bash(str(path))} ~/pictures"
        )
    found: dict[str, list[str]] = defaultdict(list)
    for problem, name in _problems(str(path)):
        found[problem].append(name)
    for problem, names in found.items():
        listed = ", ".join(shown(Path(name)) for name in names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UserError(f"in {path} {problem}: {listed}{more}.\n  {_way_out(problem, path, names)}")


def is_nameable(path: Path) -> bool:
    """Tell whether params.yaml can hold a path: as text, and without what OmegaConf would put a value for."""
    return _is_text(str(path)) and "${" not in str(path)


_BROKEN, _NAMES = "links lead nowhere", "names are not UTF-8"
_CLOSED, _SPECIAL = "some may not be read", "some are neither files nor folders"


def _problems(root: str) -> Iterator[tuple[str, str]]:
    """Yield what DVC could not read below `root`, and the path of each."""
    waiting, seen = [root] if Path(root).is_dir() else [], set()
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        if not os.access(folder, os.R_OK | os.X_OK):
            yield _CLOSED, folder
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_text(entry.name):
                    yield _NAMES, entry.path
                if entry.is_dir():
                    waiting.append(entry.path)
                elif entry.is_file():
                    if not os.access(entry.path, os.R_OK):
                        yield _CLOSED, entry.path
                else:
                    yield _BROKEN if entry.is_symlink() and not Path(entry).exists() else _SPECIAL, entry.path


def _way_out(problem: str, root: Path, names: list[str]) -> str:
    where = shlex.quote(str(root))
    if problem == _BROKEN:
        return f"remove them: find -L {where} -type l -exec rm {{}} +"
    if problem == _CLOSED:
        return f"let yourself read them: chmod -R u+rX {where}"
    if problem == _SPECIAL:
        return f"remove them: find -L {where} ! -type f ! -type d -exec rm {{}} +"
    # the encoding is a guess; the name can be chosen freely
    path = Path(names[0])
    better = path.with_name(os.fsencode(path.name).decode("cp1252", "replace"))
    return f"rename them, for example: mv {_bash(names[0])} {shlex.quote(str(better))}"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: Path | str) -> str:
    """Return a path or a name as text, also where its bytes are not UTF-8."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _bash(path: str) -> str:
    """Return the path as bash reads it, also where its bytes are no text."""
    if _is_text(path):
        return shlex.quote(path)
    letters = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(path)
    )
    return f"$'{''.join(letters)}'"
