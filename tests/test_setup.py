import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSION = platform.python_version()


def checkout(folder):
    """What set-up needs of a checkout, below a path with a space."""
    root = folder / "a checkout"
    (root / "src" / "thawline").mkdir(parents=True)
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    return root


@pytest.fixture
def setup(tmp_path):
    """tools/setup.py as if it lay in a checkout of its own, with every command it would run recorded."""
    root = checkout(tmp_path)
    spec = importlib.util.spec_from_file_location("setup_under_test", root / "tools" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(setup, monkeypatch):
    """Commands run, and by their distinguishing word what they say and return instead of running."""
    ran, answers = [], {}

    def popen(command, **_):
        ran.append(command)
        if "venv" in command:
            setup.PYTHON.parent.mkdir(parents=True, exist_ok=True)
            setup.PYTHON.touch()
        said, status = next((answers[word] for word in command if word in answers), ("", 0))
        program = f"import sys; print({said!r}, end=''); sys.exit({status})"
        return subprocess_popen([sys.executable, "-S", "-c", program], stdout=-1, text=True)

    subprocess_popen = subprocess.Popen
    monkeypatch.setattr(setup.subprocess, "Popen", popen)
    monkeypatch.setattr(setup.shutil, "which", lambda _: None)
    return ran, answers


# When set-up is needed


def test_a_complete_environment_is_left_alone(setup, commands):
    assert setup.main() == 0
    ran, _ = commands
    assert ran
    ran.clear()
    assert setup.main() == 0
    assert ran == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_into_the_environment_that_is_there(setup, commands, name):
    setup.main()
    commands[0].clear()
    changed = setup.ROOT / name
    changed.write_text(changed.read_text() + "# changed\n")
    assert not setup.is_complete()
    assert setup.main() == 0
    assert not any("venv" in command for command in commands[0])
    assert setup.is_complete()


@pytest.mark.parametrize("what", ["python", "path"])
def test_an_environment_of_another_python_or_folder_is_replaced(setup, commands, monkeypatch, what):
    real = setup.expected()
    with monkeypatch.context() as patch:
        patch.setattr(setup, "expected", lambda: real | {what: "other"})
        setup.main()
    (setup.VENV / "left over").touch()
    assert setup.main() == 0
    assert any("venv" in command for command in commands[0])
    assert not (setup.VENV / "left over").exists()


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize("step", ["venv", "uv", "-e", "import thawline"])
def test_a_set_up_interrupted_at_any_step_is_done_afresh(setup, monkeypatch, step):
    run = setup.run

    def interrupted(command, failure):
        if step in command:
            raise KeyboardInterrupt
        return run(command, failure)

    with monkeypatch.context() as patch:
        patch.setattr(setup, "run", interrupted)
        assert setup.main() == 130
    assert not setup.is_complete()
    (setup.VENV / "half written").touch()
    assert setup.main() == 0
    assert setup.is_complete()
    assert not (setup.VENV / "half written").exists()


def test_a_damaged_stamp_is_no_stamp(setup, commands):
    setup.main()
    setup.STAMP.write_text("{")
    assert not setup.is_complete()
    assert setup.main() == 0
    assert setup.is_complete()
    assert commands[0]


def test_an_environment_made_by_hand_is_kept_if_its_python_is_the_same(setup, commands):
    setup.PYTHON.parent.mkdir(parents=True)
    setup.PYTHON.touch()
    (setup.VENV / "mine").touch()
    commands[1]["import platform; print(platform.python_version())"] = (VERSION, 0)
    assert setup.main() == 0
    assert (setup.VENV / "mine").exists()
    assert not any("venv" in command for command in commands[0])


def test_an_environment_made_by_hand_with_another_python_is_refused_not_removed(setup, capsys):
    setup.PYTHON.parent.mkdir(parents=True)
    setup.PYTHON.write_text("#!/bin/sh\necho 3.9.1\n")
    setup.PYTHON.chmod(0o755)
    assert setup.main() == 1
    assert re.search(rf"its Python is 3\.9\.1, not {VERSION}\.\s+Move it away", capsys.readouterr().out)
    assert setup.PYTHON.exists()


# How the packages get there


def test_uv_installs_the_pins_and_compiles(setup, commands):
    setup.main()
    (install,) = [command for command in commands[0] if "-e" in command]
    assert install[:5] == [str(setup.PYTHON), "-m", "uv", "pip", "install"]
    assert "--compile-bytecode" in install
    assert install[-4:] == ["-c", str(setup.ROOT / "constraints.txt"), "-e", f"{setup.ROOT}[dev]"]


@pytest.mark.parametrize("answers", [{"uv": ("", 1)}, {"--compile-bytecode": ("no route to a mirror", 2)}])
def test_pip_takes_over_where_uv_cannot_be_had_or_fails(setup, commands, answers, capsys):
    commands[1].update(answers)
    assert setup.main() == 0
    assert commands[0][-2][1:4] == ["-m", "pip", "install"]
    assert commands[0][-2][-2:] == ["-e", f"{setup.ROOT}[dev]"]
    assert "trying pip" in capsys.readouterr().out


def test_the_installers_are_not_led_to_another_environment(setup, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("UV_CACHE_DIR", "/cache")
    assert "VIRTUAL_ENV" not in setup.environment()
    assert setup.environment()["UV_CACHE_DIR"] == "/cache"


# What it says when it cannot


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("error: No space left on device (os error 28)", "The disk is full.\n.*about 7 GB"),
        ("OSError: [Errno 28] No space left", "The disk is full"),
        ("Temporary failure in name resolution", "index cannot be reached.\n.*online"),
        ("NewConnectionError ...\nNo matching distribution found for uv", "index cannot be reached"),
        ("error: Permission denied (os error 13)", "cannot be written"),
        ("No solution found when resolving dependencies", "no build of a pinned version for this machine"),
        ("because ensurepip is not available", "apt-get install python3-venv"),
        ("something else", "could not be installed.\n  The last lines above"),
    ],
)
def test_a_failure_is_explained_in_plain_words(setup, said, reason):
    assert re.search(reason, setup.explain(said, "Packages could not be installed.", 1), re.DOTALL)


def test_a_failure_stops_it_and_is_explained(setup, commands, capsys):
    commands[1]["-e"] = ("Temporary failure in name resolution", 1)
    assert setup.main() == 1
    assert re.search("Set-up stopped. .*index cannot be reached", capsys.readouterr().out, re.DOTALL)
    assert not setup.is_complete()


def test_a_killed_installer_points_at_memory(setup):
    assert "too little memory" in setup.explain("", "It failed.", -9)


def test_a_full_disk_does_not_wait_for_pip_to_find_it_full_again(setup, commands):
    commands[1]["--compile-bytecode"] = ("No space left on device", 2)
    assert setup.main() == 1
    assert "--compile-bytecode" in commands[0][-1]


def test_little_space_is_said_beforehand(setup, monkeypatch, capsys):
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1.5e9))
    setup.warn_of_little_space()
    assert "Only 1.5 GB are free" in capsys.readouterr().out


# Make and the shell


def shell(root, *command, path=None, **changes):
    # these tests may themselves run below make
    ours = ("PYTHON", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    environment |= changes | ({"PATH": str(path)} if path else {})
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=280
    )


def commands_only(folder, *names):
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def test_make_alone_lists_every_target(tmp_path):
    root = checkout(tmp_path)
    said = shell(root, "make").stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"make ([\w-]+)", said) == phony.split()


@pytest.mark.parametrize("target", ["repro", "test", "lint"])
def test_every_target_sets_up_first(tmp_path, target):
    said = shell(checkout(tmp_path), "make", "-n", target).stdout.splitlines()
    assert "sh tools/setup.sh" in said[:-1]


def test_without_a_python_it_says_which_one_to_install(tmp_path):
    bare = commands_only(tmp_path / "bin", "sh", "dirname", "cat", "make")
    done = shell(checkout(tmp_path), "make", "setup", path=bare)
    assert done.returncode != 0
    assert "needs Python 3.11 or 3.12, and none was found" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_an_unsuitable_python_is_passed_over_or_named(tmp_path):
    root = checkout(tmp_path)
    bare = commands_only(tmp_path / "bin", "sh", "dirname", "cat", "make")
    old = bare / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert "none was found" in shell(root, "make", "setup", path=bare).stderr
    named = shell(root, "make", "setup", f"PYTHON={old}", path=bare)
    assert f"PYTHON={old} is not one" in named.stderr


def test_the_versions_asked_for_are_those_of_pyproject():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11,<3.13"
    assert "(3, 11) <= sys.version_info[:2] < (3, 13)" in (ROOT / "tools" / "setup.sh").read_text()


def small(root):
    """The checkout with next to nothing to install, so that installing it for real takes seconds."""
    (root / "src" / "thawline" / "__init__.py").touch()
    (root / "constraints.txt").write_text("filelock==3.20.0\n")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "thawline"\nversion = "0"\ndependencies = ["filelock"]\n'
        "[project.optional-dependencies]\ndev = []\n"
        '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
    )
    return root


@pytest.mark.slow
def test_a_real_set_up_below_a_path_with_a_space_and_its_repetition(tmp_path):
    root = small(checkout(tmp_path))
    python = f"PYTHON={sys._base_executable}"
    first = shell(root, "make", "setup", python)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Set-up complete." in first.stdout
    show = "import filelock, thawline; print(filelock.__version__, thawline.__file__)"
    shown = shell(root, ".venv/bin/python", "-c", show, PYTHONPATH="").stdout.split(maxsplit=1)
    assert shown == ["3.20.0", f"{root}/src/thawline/__init__.py\n"]

    second = shell(root, "make", "setup")
    assert (second.returncode, second.stdout) == (0, "")


def test_every_run_time_dependency_has_its_reason_written_down():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    table = page.split("## Run-time dependencies")[1].split("For development")[0]
    explained = re.findall(r"^\| ([\w-]+) \|", table, re.MULTILINE)[1:]
    assert sorted(explained) == sorted(re.match(r"[\w-]+", line)[0] for line in declared)


def test_what_is_said_to_one_make_is_not_said_to_those_that_it_starts(tmp_path: Path) -> None:
    """`make test ARGS=-x` runs the README's `make repro`, which would hand `-x` to DVC."""
    script, own = tmp_path / "Makefile", ROOT / "Makefile"
    outer = f"outer:\n\t@echo '$(ARGS)'; $(MAKE) -f '{script}' inner\n"
    script.write_text(f'include {own}\n{outer}inner:\n\t@echo "[$(ARGS)$$ARGS-$(WORKERS)]"\n')
    command = ["make", "-s", "-f", str(script), "outer", "ARGS=-x", "WORKERS=7"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-x", "[-2]"]
