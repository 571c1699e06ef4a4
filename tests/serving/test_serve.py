"""`thawline serve` says in its own words why there is nothing to serve, and what to type."""

import shlex
import shutil
import socket
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tests_pipelines import ROOT
from tests_tracking import free_port

from thawline import tracking
from thawline.config.composition import LOCK, compose, load_lock, lock_text, to_config
from thawline.config.errors import UserError
from thawline.serving.cli import main
from thawline.serving.serve import registering


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which nothing was registered yet, and the working folder."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / LOCK, tmp_path)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `thawline serve` refuses with."""
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    return str(ended.value.code) if isinstance(ended.value.code, str) else capsys.readouterr().err


def test_where_nothing_is_registered_the_message_registers_it(checkout: Path, capsys) -> None:
    first, advice = said(capsys, "--port", str(free_port())).splitlines()
    assert first == "error: no model is registered as thawline."
    assert advice == "  register it: dvc exp run -S \"export.formats=['bundle', 'mlflow']\""
    values = compose(checkout, shlex.split(advice.partition(": ")[2])[4:])
    assert [each.name for each in to_config(values).export.formats] == ["bundle", "mlflow"]


def test_what_registers_changes_nothing_else_of_what_the_pipeline_was_told(checkout: Path) -> None:
    given = [
        *("source=imagenet", "target=image_folder", "target.root='/home/josé/a b'", "search=depth_curve"),
        *("+search.space.choices.weight_decay=[0.0,1e-5]", "+model.options.width_per_group=32"),
    ]
    (checkout / LOCK).write_text(lock_text(checkout, given))
    lock = load_lock(checkout)
    words = shlex.split(registering(to_config(lock), checkout))
    assert words[:3] == ["dvc", "exp", "run"]
    lock.export.formats.append("mlflow")
    assert OmegaConf.create(lock_text(checkout, words[4::2])) == lock


def test_where_it_is_asked_for_already_the_stage_runs_again(checkout: Path) -> None:
    config = to_config(compose(checkout, ["export.formats=[bundle,mlflow]"]))
    assert registering(config, checkout) == "dvc repro -f -s export"


def test_another_name_than_the_registered_one_is_named(checkout: Path) -> None:
    with pytest.raises(UserError, match="no model is registered as 'a' \"b\""):
        tracking.serve("sqlite:///mlflow.db", checkout, "'a' \"b\"", "127.0.0.1", free_port(), "")


def test_where_the_port_is_taken_a_free_one_is_named(checkout: Path, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first, advice = said(capsys, "--port", str(port)).splitlines()
    assert first == f"error: nobody can listen at 127.0.0.1 port {port}: Address already in use."
    command = advice.partition(": ")[2]
    assert command.startswith("thawline serve --host 127.0.0.1 --port ")
    socket.create_server(("127.0.0.1", int(command.split()[-1]))).close()


def test_where_the_host_is_not_here_loopback_is_named(checkout: Path, capsys) -> None:
    first, advice = said(capsys, "--host", "192.0.2.1").splitlines()
    assert first.startswith("error: nobody can listen at 192.0.2.1 port 5001: ")
    assert "assign" in first
    assert advice.startswith("  try: thawline serve --port ")


def test_a_port_is_a_number_that_ports_have(capsys) -> None:
    assert "99999 is not a port\n  give 1 to 65535, such as 5001" in said(capsys, "--port", "99999")


def test_a_store_that_does_not_answer_is_named(checkout: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"MLflow cannot use the store {uri}"):
        tracking.serve(uri, checkout, "thawline", "127.0.0.1", free_port(), "")
