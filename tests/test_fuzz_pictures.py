"""Damaged pictures become a picture or a reason in our words; the watcher sees it where they do not."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "fuzz_pictures.py"
UNREMARKABLE = {"number": 0, "outcome": "picture", "seconds": 0.1, "mebibytes": 50}


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_pictures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    sys.platform != "linux", reason="the most memory of each picture is measured through /proc"
)
def test_three_hundred_mutants(fuzz, capsys):
    """Others in each run of all 20,000: `python tools/fuzz_pictures.py --seed 1`."""
    bad = fuzz.main(["--count", "300"])
    said = capsys.readouterr().out
    assert bad == 0, said
    assert said.startswith("300 mutants\n")
    for kind in fuzz.FORMATS.split(","):
        mine = said.partition(f"{kind}: 50, ")[2].split("MiB\n")[1]
        assert " picture\n" in mine
        assert " the picture is damaged" in mine


def test_a_number_decides_a_mutant(fuzz):
    bases = list(fuzz.originals(["PNG", "GIF"]))
    assert list(fuzz.originals(["PNG", "GIF"])) == bases
    mutants = [fuzz.mutant(bases, 0, number) for number in range(40)]
    assert [fuzz.mutant(bases, 0, number) for number in range(40)] == mutants
    assert len({content for _, content in mutants}) > 35
    assert fuzz.mutant(bases, 1, 7) != mutants[7]


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ({}, False),
        ({"outcome": "the file is empty"}, False),
        ({"outcome": "exception: TypeError"}, True),
        ({"outcome": "crash"}, True),
        ({"seconds": 5.1}, True),
        ({"mebibytes": 1025}, True),
    ],
)
def test_what_none_may_do(fuzz, change, bad):
    assert fuzz.is_bad({**UNREMARKABLE, **change}) is bad


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at_two", "outcome"),
    [
        ("os.kill(os.getpid(), 11)", "crash"),
        ("time.sleep(99)", "hang"),
        ("sys.stderr.write('libtiff: bad value')", "said something"),
    ],
)
def test_the_watcher_sees_it_and_goes_on_behind_it(fuzz, monkeypatch, at_two, outcome):
    monkeypatch.setattr(fuzz, "SECONDS", 0.3)
    child = (
        "import json, os, sys, time\n"
        "first, count = (int(each.split('=')[1]) for each in sys.argv[1:])\n"
        "for number in range(first, first + count):\n"
        f"    if number == 2: {at_two}\n"
        "    print(json.dumps({'number': number, 'outcome': 'picture', 'seconds': 0.0, 'mebibytes': 0}))\n"
    )
    results = fuzz.watch([sys.executable, "-c", child], 0, 5)
    assert sorted(each["number"] for each in results if each["outcome"] == "picture")[-1] == 4
    assert [each["outcome"] for each in results if fuzz.is_bad(each)] == [outcome]
    assert {each["number"] for each in results} >= {0, 1, 2, 3, 4}
