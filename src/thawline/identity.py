"""Which code decides a computation: the syntax of the modules it imports, without comments and docstrings.

An unfinished training, a study or stored features are found again by what decided them. Were that the text
of whole folders, a comment in one of them would throw away hours of work.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent

DECIDES_NOTHING = {
    "thawline.stage": "makes a script a stage; what the stage computes begins in the function it calls",
    "thawline.by_hand": "says what a stage called by hand may read",
    "thawline.identity": "what it finds is the identity itself",
    "thawline.artifacts": "names paths and writes files whole; what is in them comes from elsewhere",
    "thawline.tracking": "records what was computed",
    "thawline.data.recorded": "records what was computed",
    "thawline.progress": "shows what is computed",
    "thawline.launcher": "starts processes; how many they are is a setting",
    "thawline.config.errors": "words for what people can correct",
    "thawline.config.checks": "refuses values and changes none",
    "thawline.config.kinds": "words for types",
    "thawline.config.explain": "words for what is wrong with a configuration",
    "thawline.config.composition": "reads settings, whose values count themselves",
    "thawline.config.plugin": "gives Hydra these words",
    "thawline.config.overrides": "quotes what is typed",
    "thawline.config.paths": "words for paths that cannot be used",
    "thawline.config.addresses": "words for addresses that are no paths",
    "thawline.config.architectures": "names that are allowed",
    "thawline.config.candidates": "reads settings, whose values count themselves",
    "thawline.config.choices": "names of values that count themselves",
    "thawline.config.pictures": "declares settings, whose values count themselves",
    "thawline.config.search": "declares settings, whose values count themselves",
    "thawline.config.sections": "declares settings, whose values count themselves",
    "thawline.config.weight_files": "says which values are paths",
    "thawline.config.recipe.fields": "declares settings, whose values count themselves",
    "thawline.config.recipe.rewards": "declares settings, whose values count themselves",
    "thawline.config.recipe.words": "words for recipes",
    "thawline.wording": "words for numbers",
}
"""Modules (and all below them) that change no result, and why not; nothing that only they import counts."""

METHODS = "thawline.config.recipe.methods"
"""The table of methods of fine-tuning, of which a computation uses some rows."""

BY_NAME = {
    "thawline.data.sources": "thawline.data.sets",
    "thawline.models.adapters.implementation": "thawline.models.adapters",
}
"""Modules that import those of a folder by names which stand in no source, and the folder."""

LIBRARIES = {
    "numpy": "numpy",
    "optuna": "optuna",
    "pytorch_lightning": "pytorch-lightning",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
}
"""Packages whose version may change what is computed, by the name they are imported by."""


@cache
def code_identity(
    *roots: str, rows: tuple[str, ...] | None = None, also: tuple[str, ...] = (), package: Path = PACKAGE
) -> str:
    """Return the SHA-256 of all code that `roots` (names of modules) run, and of their libraries' versions.

    It is computed once in a process: the code of a process stays what it was when it began.

    Args:
        rows: the rows of the table of methods (`METHODS`) that are used, each as text; they count in place of
            the whole table and of the modules of all methods. None: all of it counts.
        also: modules that count besides, such as those of the methods of these rows.
        package: the folder of the package.

    Raises `ValueError` when one of the modules named does not exist.
    """
    left_out = () if rows is None else (METHODS,)
    found = _found((*roots, *also), left_out, package)
    libraries = {name for source in found.values() for name in source.libraries}
    parts = (
        [(name, source.code) for name, source in sorted(found.items())],
        [(name, _version(LIBRARIES[name])) for name in sorted(libraries)],
        rows,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class _Source(NamedTuple):
    path: Path
    code: str
    """Hash of the syntax tree."""
    imports: tuple[str, ...]
    """Names that may be modules of the package."""
    libraries: frozenset[str]


def script_identity(script: Path, *, methods: bool = True, package: Path = PACKAGE) -> str:
    """Return the SHA-256 of the code that a script outside the package runs, its own and that of the modules
    it imports. Without `methods`, those of the methods of fine-tuning and their table are left out."""
    found = sorted((name, source.code) for name, source in _of(script, methods, package).items())
    own = _source(script, "__main__").code
    return hashlib.sha256(repr((own, found)).encode()).hexdigest()


def files(*roots: str | Path, package: Path = PACKAGE) -> list[Path]:
    """Return the files of the modules that `roots` import, sorted; those without any code are left out.

    A root is the name of a module, or the file of a script outside the package.
    """
    found: dict[str, _Source] = {}
    for root in roots:
        found |= _found([root], (), package) if isinstance(root, str) else _of(root, True, package)
    return sorted(source.path for source in found.values() if source.code != _NOTHING)


def _of(script: Path, methods: bool, package: Path) -> dict[str, _Source]:
    return _found(_imported_by(script, package), () if methods else (METHODS,), package)


def _found(names: Iterable[str], left_out: tuple[str, ...], package: Path) -> dict[str, _Source]:
    """Return the sources of the modules `names` and of all they import within the package, by name."""
    found: dict[str, _Source] = {}
    waiting = list(names)
    for name in waiting:
        if _file_of(name, package) is None:
            raise ValueError(f"there is no module {name} in {package}")
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if _without_effect(name, left_out) or (path := _file_of(name, package)) is None:
            continue
        found[name] = _source(path, name)
        # importing a module runs the packages around it
        waiting += [*found[name].imports, *_around(name)]
        if name in BY_NAME and not (METHODS in left_out and name.startswith("thawline.models.")):
            waiting += _inside(BY_NAME[name], package)
    return found


def _inside(folder: str, package: Path) -> list[str]:
    """Return the modules in `folder`, at any depth."""
    paths = package.joinpath(*folder.split(".")[1:]).rglob("*.py")
    names = [".".join((package.name, *path.relative_to(package).with_suffix("").parts)) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def _without_effect(name: str, left_out: tuple[str, ...]) -> bool:
    return any(each in DECIDES_NOTHING or each in left_out for each in (name, *_around(name)))


def _around(name: str) -> list[str]:
    """Return the packages around a module, the outermost last: `a.b` and `a` of `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


@cache
def _file_of(name: str, package: Path) -> Path | None:
    top, *rest = name.split(".")
    base = package.joinpath(*rest)
    tried = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in tried if top == package.name and path.is_file()), None)


def _imported_by(script: Path, package: Path) -> list[str]:
    imports = _source(script, "__main__").imports
    return [name for name in imports if _file_of(name, package) is not None]


def _source(path: Path, name: str) -> _Source:
    inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return _Source(path, *_understood(path.read_text(encoding="utf-8"), inside))


@cache
def _understood(text: str, inside: str) -> tuple[str, tuple[str, ...], frozenset[str]]:
    """Return the hash, imports and libraries of a module with this text in the package `inside`."""
    tree = ast.parse(text)
    imports = list(_imports(tree, inside))
    # a module whose name is written out may be imported by it
    texts = (str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant))
    imports += [text for text in texts if re.fullmatch(r"[a-zA-Z_]\w*(\.\w+)+", text)]
    libraries = frozenset(LIBRARIES.keys() & {name.partition(".")[0] for name in imports})
    return _hash(tree), tuple(dict.fromkeys(imports)), libraries


def _imports(tree: ast.Module, inside: str) -> Iterator[str]:
    """Yield every name that is imported; of `from a import b` both `a` and `a.b`, which may be a module.

    Takes from `tree` what changes no result: docstrings, and imports for the type checker alone.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), inside)
            yield origin
            yield from (f"{origin}.{each.name}" for each in node.names)
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                statements[:] = [each for each in statements if not _is_idle(each)]
                waiting += statements


def _is_idle(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _hash(tree: ast.Module) -> str:
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


_NOTHING = _hash(ast.Module(body=[], type_ignores=[]))


@cache
def _version(distribution: str) -> str | None:
    """Return the version that is installed; None where there is none."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
