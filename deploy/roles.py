"""The three roles on this machine, each in a process of its own, with throw-away certificates, to try out.

    make roles

    broker ──▶ identity, attributes (they call the broker) ──▶ until Ctrl-C, then all three stop

Everything is in one folder, `var/`: certificates in `certificates/`, each role's data in a folder of its own.
A certificate of each role to call with is there too: `certificates/council.pem` and so on.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pseudonym.roles.authority import make_all
from pseudonym.roles.callers import Role

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS, STOP_SECONDS = 120.0, 30.0
# The broker first: the others call it.
PORTS = {Role.BROKER: 7071, Role.IDENTITY: 7070, Role.ATTRIBUTES: 7072}


def command(role: Role, folder: Path, port: int, broker: int) -> list[str]:
    """How one role is started."""
    certificates = folder / "certificates"
    flags = {
        "--role": role.value,
        "--data": folder / f"{role}-role",
        "--listen": f"127.0.0.1:{port}",
        "--port-file": folder / f"{role}.port",
        "--tls-certificate": certificates / f"{role}.pem",
        "--tls-key": certificates / f"{role}.key",
        "--tls-authority": certificates / "authority.pem",
    }
    if role is not Role.BROKER:
        flags["--broker"] = f"localhost:{broker}"
    return [sys.executable, str(ROOT / "server.py"), *(str(part) for pair in flags.items() for part in pair)]


def start(role: Role, folder: Path, port: int, broker: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start a role and wait until it listens; the process and its port.

    Raises:
        RuntimeError: it ended, or does not listen in time.
    """
    told = folder / f"{role}.port"
    told.unlink(missing_ok=True)
    process = subprocess.Popen(command(role, folder, port, broker), cwd=ROOT)
    until = time.monotonic() + START_SECONDS
    while not told.exists():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise RuntimeError(f"The {role} role does not start. It has said why above.")
        time.sleep(0.1)
    return process, int(told.read_text())


def run(folder: Path, ports: dict[Role, int]) -> int:
    """Start all three, wait for a signal or the end of one, stop them; the exit code."""
    make_all(folder / "certificates")
    running: list[subprocess.Popen[bytes]] = []
    try:
        at: dict[Role, int] = {}
        for role, port in ports.items():
            process, at[role] = start(role, folder, port, at.get(Role.BROKER, 0))
            running.append(process)
        told = ", ".join(f"{role} on localhost:{port}" for role, port in at.items())
        print(f"{told}. Certificates are in {folder / 'certificates'}. Ctrl-C stops all.", flush=True)
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        return 1
    except KeyboardInterrupt:
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for process in running[::-1]:
            process.terminate()
        for process in running[::-1]:
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def main(arguments: Sequence[str]) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="The three roles on this machine.", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=ROOT / "var", help="where everything goes (var)")
    parser.add_argument("--any-ports", action="store_true", help="take ports that are free")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return run(given.folder.absolute(), dict.fromkeys(PORTS, 0) if given.any_ports else PORTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
