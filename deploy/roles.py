"""The three roles on this machine, each in a process of its own, with throw-away certificates, to try out.

    make roles

    broker ──▶ identity, attributes (they call the broker) ──▶ until Ctrl-C, then all three stop

Everything is in one folder, `var/`: certificates in `certificates/`, each role's data in a folder of its own.
A certificate of each role to call with is there too: `certificates/council.pem` and so on. Persons may be
joined for the purpose "demonstration", and people's requests are decided for "subject-rights":
`var/governance.json` says so, is kept as you change it, and is read at the start. docs/audit.md shows how to
check the audit logs.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pseudonym.audit.folder import PUBLIC_KEY
from pseudonym.roles.authority import make_all
from pseudonym.roles.callers import Role

ROOT = Path(__file__).resolve().parent.parent
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_SECONDS, STOP_SECONDS = 120.0, 30.0
PORTS = {Role.BROKER: 7071, Role.IDENTITY: 7070, Role.ATTRIBUTES: 7072}
ANY_PORTS = dict.fromkeys(PORTS, 0)
CONTACTS = [
    {"who": "data-protection-officer", "name": "Olive, of the made-up council", "how": "dpo@council.example"},
    {"who": "regulator", "name": "Information Commissioner's Office", "how": "ico.org.uk"},
]
"""Whom people can complain to."""
GOVERNANCE = {
    # Identities a day that may be opened, by purpose.
    "quotas": {"demonstration": 1_000_000, "subject-rights": 1_000},
    "contacts": CONTACTS,
    "national_data_opt_out": {"mailbox": "X26OT001", "days": 7},  # made up
}


class Processes:
    """The three roles, each in a process of its own; `stop` ends those that were started.

    Args:
        folder: where certificates and data go; each role's data in `identity-role/` and so on.
        ports: to listen on at the loopback address; 0 for any that is free.
        logs: whether each role's output goes into `identity.log` and so on, and not where this one's goes.
        governance: what all three are told (docs/running.md), where the folder has no governance.json.
    """

    def __init__(
        self,
        folder: Path,
        ports: dict[Role, int],
        *,
        logs: bool = False,
        governance: Mapping[str, object] = GOVERNANCE,
    ) -> None:
        self._folder, self._ports, self._logs = folder, ports, logs
        self._told_all = governance
        self._governance = folder / "governance.json"
        self._days_ahead = 0
        self._running: dict[Role, subprocess.Popen[bytes]] = {}
        self._lock: int | None = None

    @property
    def certificates(self) -> Path:
        """Where the certificates are."""
        return self._folder / "certificates"

    def start(self) -> dict[Role, str]:
        """Start all three and wait until they listen; their addresses.

        Raises:
            RuntimeError: one ended, or does not listen in time; or others run in the folder.
        """
        self._take()
        make_all(self.certificates)
        if not self._governance.exists():  # who tries the roles out may have put approvers into it
            self._governance.write_text(json.dumps(self._told_all) + "\n")
            self._governance.chmod(0o600)
        return self._run()

    def later(self, days: int) -> dict[Role, str]:
        """Stop all three, and start them with a clock so many days ahead of this machine's; their addresses.

        Raises:
            RuntimeError: one ended, or does not listen in time.
        """
        self.stop()
        self._days_ahead = days
        self._take()
        return self._run()

    def _run(self) -> dict[Role, str]:
        self._begin(Role.BROKER)
        at = {Role.BROKER: self._address(Role.BROKER)}
        others = [role for role in self._ports if role is not Role.BROKER]
        for role in others:
            self._begin(role, at[Role.BROKER])
        return at | {role: self._address(role) for role in others}

    def audit_log(self, role: Role) -> Path:
        """A role's audit log; its public key lies beside it in the file `public-key`."""
        return self._folder / f"{role}-role" / role / "audit"

    def pids(self) -> dict[Role, int]:
        """The process of each role that was started."""
        return {role: process.pid for role, process in self._running.items()}

    def alive(self) -> bool:
        """Whether none has ended."""
        return all(process.poll() is None for process in self._running.values())

    def stop(self) -> dict[Role, int]:
        """Ask all to end, the broker last, and return their exit codes; one that does not end is killed."""
        running = list(self._running.items())[::-1]
        for _, process in running:
            process.terminate()
        codes = {}
        try:
            for role, process in running:
                try:
                    codes[role] = process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    codes[role] = process.wait()
        except BaseException:  # a second signal: no more patience
            for _, process in running:
                process.kill()
            raise
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None
        return codes

    def _take(self) -> None:
        """Keep others out of the folder until all are stopped: they would replace certificates and ports."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock = lock
        except BlockingIOError:
            os.close(lock)
            raise RuntimeError(
                f"Roles run in {self._folder} already. Stop them, or name another folder with --folder "
                "(and --any-ports)."
            ) from None

    def _begin(self, role: Role, broker: str = "") -> None:
        self._told(role).unlink(missing_ok=True)
        command = self._command(role, broker)
        with signals_held():
            if self._logs:
                # Sessions of their own: Ctrl-C is for this process, which then stops them in order.
                with (self._folder / f"{role}.log").open("ab" if self._days_ahead else "wb") as log:
                    process = subprocess.Popen(
                        command,
                        cwd=ROOT,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
            else:
                process = subprocess.Popen(command, cwd=ROOT)
            self._running[role] = process

    def _address(self, role: Role) -> str:
        told, until = self._told(role), time.monotonic() + START_SECONDS
        while not told.exists():
            if self._running[role].poll() is not None or time.monotonic() > until:
                where = f"{role}.log says" if self._logs else "It has said"
                raise RuntimeError(f"The {role} role does not start. {where} why.")
            time.sleep(0.05)
        return f"localhost:{int(told.read_text())}"

    def _told(self, role: Role) -> Path:
        return self._folder / f"{role}.port"

    def _command(self, role: Role, broker: str) -> list[str]:
        flags = {
            "--role": role.value,
            "--data": self._folder / f"{role}-role",
            "--listen": f"127.0.0.1:{self._ports[role]}",
            "--port-file": self._told(role),
            "--governance": self._governance,
            "--tls-certificate": self.certificates / f"{role}.pem",
            "--tls-key": self.certificates / f"{role}.key",
            "--tls-authority": self.certificates / "authority.pem",
        }
        if broker:
            flags["--broker"] = broker
        if self._days_ahead:
            flags["--days-ahead"] = str(self._days_ahead)
        return [
            sys.executable,
            str(ROOT / "server.py"),
            *(str(one) for pair in flags.items() for one in pair),
        ]


@contextmanager
def signals_held() -> Iterator[None]:
    """A signal that comes within the block does what it does at its end."""
    came: list[int] = []
    before = {name: signal.signal(name, lambda number, _: came.append(number)) for name in ENDING}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        for number in came:
            signal.raise_signal(number)


def run(folder: Path, ports: dict[Role, int]) -> int:
    """Start all three, wait for a signal or the end of one, stop them; the exit code."""
    roles = Processes(folder, ports)
    try:
        told = ", ".join(f"{role} on {address}" for role, address in roles.start().items())
        print(f"{told}. Certificates are in {roles.certificates}. Ctrl-C stops all.")
        for role in PORTS:
            print(
                f"The public key of the {role} role's audit log is in {roles.audit_log(role) / PUBLIC_KEY}."
            )
        sys.stdout.flush()
        while roles.alive():
            time.sleep(0.5)
        return 1
    except KeyboardInterrupt:
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        roles.stop()


def main(arguments: Sequence[str]) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="The three roles on this machine.", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=ROOT / "var", help="where everything goes (var)")
    parser.add_argument("--any-ports", action="store_true", help="take ports that are free")
    given = parser.parse_args(arguments)
    # A shell that starts this in its background has it ignore Ctrl-C; SIGTERM ends it all the same.
    for name in ENDING:
        signal.signal(name, signal.default_int_handler)
    given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return run(given.folder.absolute(), ANY_PORTS if given.any_ports else PORTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
