"""The identity of a computation: the code that decides it, and nothing else."""

import ast
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thawline.config.recipe.methods import Method
from thawline.identity import DECIDES_NOTHING, LIBRARIES, METHODS, PACKAGE, code_identity, files

ROOT = PACKAGE.parents[1]
COMPUTATIONS = {
    "pretraining": ("thawline.training.pretrain",),
    "fine-tuning": ("thawline.training.finetune",),
    "features": ("thawline.training.features.prefix",),
    "study": ("thawline.search.trial.trials", "thawline.search.study.samplers"),
}
USED = {
    "pretraining": (),
    "fine-tuning": (Method.lora,),
    "features": (),
    "study": (Method.full, Method.lora),
}


def identities_of(package: Path) -> dict[str, str]:
    """The identity of each computation as its module asks for it."""
    return {
        name: code_identity(
            *roots,
            rows=tuple(repr(method.row) for method in USED[name]),
            also=tuple(method.module for method in USED[name]),
            package=package,
        )
        for name, roots in COMPUTATIONS.items()
    }


Toy = Callable[[dict[str, str]], Path]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """A package of small modules, written anew with other texts of some of them."""
    texts = {
        "__init__": "",
        "start": "import torch\nfrom toy.folder.first import begin\n",
        "folder.__init__": "",
        "folder.first": "from toy import second\nfrom . import third\n\ndef begin():\n    import toy.late\n",
        "folder.third": "THIRD = 3",
        "second": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toy.typed\n",
        "late": "NAMED = 'toy.named'",
        "named": "import numpy",
        "typed": "",
        "apart": "",
    }
    made = iter(range(100))

    def written(changes: dict[str, str]) -> Path:
        package = tmp_path / str(next(made)) / "toy"
        for name, text in (texts | changes).items():
            path = package.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return package

    return written


def test_modules_count_however_they_are_imported(toy: Toy) -> None:
    package = toy({"__init__": "VERSION = 1", "folder.__init__": "FOLDER = 1"})
    found = [path.relative_to(package).as_posix() for path in files("toy.start", package=package)]
    around = ["__init__.py", "folder/__init__.py"]
    assert found == sorted(
        [*around, "folder/first.py", "folder/third.py", "late.py", "named.py", "second.py", "start.py"]
    )


def test_a_module_that_is_not_imported_does_not_count(toy: Toy) -> None:
    before = code_identity("toy.start", package=toy({}))
    assert code_identity("toy.start", package=toy({"apart": "X = 1", "typed": "X = 1"})) == before


@pytest.mark.parametrize("name", ["start", "folder.first", "folder.third", "second", "late", "named"])
def test_a_change_of_any_imported_module_counts(toy: Toy, name: str) -> None:
    assert code_identity("toy.start", package=toy({name: "X = 1"})) != code_identity(
        "toy.start", package=toy({})
    )


def test_comments_docstrings_and_layout_do_not_count(toy: Toy) -> None:
    short = "class A:\n    x = 1\n    def f(self):\n        return (1, 2)"
    long = (
        '"""A module."""\n# why\nclass A:\n    """A class."""\n    x = 1\n    """An attribute."""\n\n'
        '    def f(self):\n        """A function."""\n        return (\n            1,\n            2)\n'
    )
    one, other = (code_identity("toy.start", package=toy({"start": text})) for text in (short, long))
    assert one == other


def test_a_string_that_is_used_counts(toy: Toy) -> None:
    one, other = (code_identity("toy.start", package=toy({"start": f"X = '{text}'"})) for text in ("a", "b"))
    assert one != other


def test_rows_of_the_table_of_methods_stand_for_the_whole(tmp_path: Path) -> None:
    # the table has its name in a package of this name only
    def identity(rows: tuple[str, ...] | None, also: tuple[str, ...] = (), **texts: str) -> str:
        package = tmp_path / str(len(list(tmp_path.iterdir()))) / "thawline"
        table = package / "config" / "recipe"
        table.mkdir(parents=True)
        for folder in (package, table.parent, table):
            (folder / "__init__.py").touch()
        (package / "run.py").write_text("import thawline.config.recipe.methods")
        (table / "methods.py").write_text(
            f"ROWS = ['thawline.lora', 'thawline.bias']{texts.get('table', '')}"
        )
        (package / "lora.py").write_text(texts.get("lora", ""))
        (package / "bias.py").write_text(texts.get("bias", ""))
        return code_identity("thawline.run", rows=rows, also=also, package=package)

    lora = identity(("lora",), ("thawline.lora",))
    assert identity(("lora",), ("thawline.lora",), bias="X = 1", table="[:]") == lora
    assert identity(("lora",), ("thawline.lora",), lora="X = 1") != lora
    assert identity(("other words",), ("thawline.lora",)) != lora
    assert identity(None) != lora
    # without rows, everything that the table names counts
    assert identity(None, bias="X = 1") != identity(None)


def test_versions_of_imported_libraries_count(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_version(name: str, number: str) -> str:
        monkeypatch.setattr("thawline.identity._version", lambda library: number if library == name else "1")
        return code_identity("toy.start", package=toy({}))

    assert with_version("torch", "1") != with_version("torch", "2")
    assert with_version("scipy", "1") == with_version("scipy", "2")


def test_a_module_that_does_not_exist_is_refused(toy: Toy) -> None:
    with pytest.raises(ValueError, match=r"no module toy\.strat"):
        code_identity("toy.strat", package=toy({}))


Edit = Callable[[Path], None]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, Edit], dict[str, str]]:
    """The identity of every computation after files of this package were edited, by a pattern."""

    def identities(pattern: str, edit: Edit) -> dict[str, str]:
        package = tmp_path / "src" / "thawline"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        edited = list(package.glob(pattern))
        assert edited
        for path in edited:
            edit(path)
        return identities_of(package)

    return identities


@pytest.fixture(scope="module")
def unchanged() -> dict[str, str]:
    found = identities_of(PACKAGE)
    assert len(set(found.values())) == len(COMPUTATIONS)
    return found


def add_code(path: Path) -> None:
    path.write_text(path.read_text() + "\n\nADDED = 1\n")


def add_words(path: Path) -> None:
    """Put a comment at the end and a word into every docstring."""
    lines = path.read_text().splitlines()
    strings = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    for string in sorted((each for each in strings if isinstance(each.value, str)), key=lambda s: -s.lineno):
        line = lines[string.lineno - 1]
        lines[string.lineno - 1] = line.replace('"""', '"""Truly. ', 1)
    path.write_text("\n".join([*lines, "# a comment about 'thawline.report.page'", ""]))


@pytest.mark.slow
def test_comments_and_docstrings_anywhere_lose_nothing(changed, unchanged) -> None:
    assert changed("**/*.py", add_words) == unchanged


def test_a_change_of_the_report_loses_nothing(changed, unchanged) -> None:
    assert changed("report/**/*.py", add_code) == unchanged


@pytest.mark.parametrize("name", ["decoding", "levels", "orientation", "picture_files", "samples", "tiff"])
def test_a_change_of_how_files_become_pixels_loses_nothing(name: str) -> None:
    """A training reads pixels that are stored; these count by the hash of the store."""
    roots = [root for each in COMPUTATIONS.values() for root in each]
    assert f"{name}.py" not in {path.name for path in files(*roots) if path.parent.name == "data"}


def test_a_change_of_a_searchs_results_loses_no_study(changed, unchanged) -> None:
    assert changed("search/results/*.py", add_code) == unchanged


@pytest.mark.parametrize("pattern", ["models/adapters/prompt.py", "config/recipe/methods.py"])
def test_a_change_of_another_method_loses_nothing(changed, unchanged, pattern: str) -> None:
    assert changed(pattern, add_code) == unchanged


def test_a_change_of_a_method_loses_what_uses_it(changed, unchanged) -> None:
    found = changed("models/adapters/lora.py", add_code)
    assert {name for name in COMPUTATIONS if found[name] != unchanged[name]} == {"fine-tuning", "study"}


def test_a_change_of_freezing_loses_all(changed, unchanged) -> None:
    found = changed("models/freezing.py", add_code)
    assert not {name for name in COMPUTATIONS if found[name] == unchanged[name]}


def test_a_change_of_the_search_loses_the_study_alone(changed, unchanged) -> None:
    found = changed("search/**/*.py", add_code)
    assert {name for name in COMPUTATIONS if found[name] != unchanged[name]} == {"study"}


def test_what_decides_nothing_exists() -> None:
    assert all(importlib.util.find_spec(name) is not None for name in DECIDES_NOTHING)
    assert METHODS not in DECIDES_NOTHING


@pytest.mark.parametrize("name", ["choices", "pictures", "search", "sections", "recipe/fields"])
def test_settings_that_count_by_their_values_are_only_declared(name: str) -> None:
    tree = ast.parse((PACKAGE / "config" / f"{name}.py").read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    # what is called while a value is made shows in the value
    assert all(name.startswith("_") for name in functions)


def test_every_library_a_training_imports_is_named() -> None:
    assert {"torch", "torchvision", "pytorch_lightning", "optuna"} <= LIBRARIES.keys()
    assert all(importlib.util.find_spec(name) is not None for name in LIBRARIES)


def test_every_module_is_reached_by_imports_that_the_identity_sees() -> None:
    scripts = sorted((ROOT / "pipelines").glob("*.py"))
    entries = ("thawline.serving.cli", "thawline.search.commands")
    apart = {PACKAGE.joinpath(*name.split(".")[1:]) for name in DECIDES_NOTHING}
    left = [
        path
        for path in set(PACKAGE.rglob("*.py")) - set(files(*entries, *scripts))
        if path.stat().st_size and not apart & {path.with_suffix(""), *path.parents}
    ]
    docstrings = [path for path in left if len(ast.parse(path.read_text()).body) == 1]
    # two are commands, one is copied beside a model (dvc.yaml names it)
    assert sorted(path.relative_to(PACKAGE).as_posix() for path in set(left) - set(docstrings)) == [
        "code.py",
        "config/__main__.py",
        "serving/formats/predict_onnx.py",
    ]
