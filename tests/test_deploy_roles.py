"""What `make roles` tells the three roles: its own governance file, until somebody changes it."""

from __future__ import annotations

import json
import re
import signal

import pytest

from deploy import roles
from deploy.roles import ANY_PORTS, GOVERNANCE, Processes
from pseudonym.roles import governance


def test_a_governance_file_that_somebody_changed_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "_begin", lambda *_: None)
    monkeypatch.setattr(Processes, "_address", lambda *_: "localhost:1")
    path = tmp_path / "governance.json"
    first = Processes(tmp_path, ANY_PORTS)
    first.start()
    assert json.loads(path.read_text()) == GOVERNANCE
    assert path.stat().st_mode & 0o777 == 0o600
    changed = {**GOVERNANCE, "requesters": {"olive": "olive"}}
    path.write_text(json.dumps(changed))
    first.stop()
    second = Processes(tmp_path, ANY_PORTS)
    second.start()
    assert json.loads(path.read_text()) == changed
    second.stop()


@pytest.mark.parametrize("page", ["persons", "rights", "opt-outs"])
def test_the_purposes_of_pages_that_begin_with_make_roles_have_a_quota(page):
    text = (roles.ROOT / "docs" / f"{page}.md").read_text()
    purposes = set(re.findall(r"KINLINK_PURPOSE=([a-z-]+)", text))
    assert purposes
    assert purposes <= set(GOVERNANCE["quotas"])
    assert "`make roles`" in text


def test_what_make_roles_tells_is_read_and_takes_lists_of_the_national_data_opt_out(tmp_path):
    path = tmp_path / "governance.json"
    path.write_text(json.dumps(GOVERNANCE))
    path.chmod(0o600)
    told = governance.read(path)
    assert told.contacts
    assert told.opt_outs is not None


def test_a_second_one_in_a_folder_is_refused_and_changes_nothing_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Processes, "_begin", lambda *_: None)
    monkeypatch.setattr(Processes, "_address", lambda *_: "localhost:1")
    first = Processes(tmp_path, ANY_PORTS)
    first.start()
    (tmp_path / "broker.port").write_text("7071")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert roles.run(tmp_path, ANY_PORTS) == 1
    assert "Roles run in" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    first.stop()
    again = Processes(tmp_path, ANY_PORTS)
    assert again.start()
    again.stop()


def test_it_ends_by_sigterm_where_ctrl_c_is_ignored(tmp_path, monkeypatch):
    before = {name: signal.getsignal(name) for name in roles.ENDING}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what runs in its background
    monkeypatch.setattr(roles, "run", lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        with pytest.raises(KeyboardInterrupt):
            roles.main(["--folder", str(tmp_path / "var")])
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
