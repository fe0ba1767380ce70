"""What `make roles` tells the three roles: its own governance file, until somebody changes it."""

from __future__ import annotations

import json

from deploy.roles import ANY_PORTS, GOVERNANCE, Processes


def test_a_governance_file_that_somebody_changed_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "_begin", lambda *_: None)
    monkeypatch.setattr(Processes, "_address", lambda *_: "localhost:1")
    path = tmp_path / "governance.json"
    Processes(tmp_path, ANY_PORTS).start()
    assert json.loads(path.read_text()) == GOVERNANCE
    assert path.stat().st_mode & 0o777 == 0o600
    changed = {**GOVERNANCE, "requesters": {"olive": "olive"}}
    path.write_text(json.dumps(changed))
    Processes(tmp_path, ANY_PORTS).start()
    assert json.loads(path.read_text()) == changed
