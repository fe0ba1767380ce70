"""Build hook: protoc turns `proto/` into the packages `linker.v1` and `pseudonym.v1`.

    proto/linker/v1/jobs.proto ──protoc──▶ linker/v1/jobs_pb2.py, jobs_pb2.pyi, jobs_pb2_grpc.py

It runs for wheels and for editable installs; `python hatch_build.py` runs it by hand. What it writes is never
committed: the definitions are the source.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE_DOCSTRING = '"""Generated from the definitions in proto/; not edited, not committed."""\n'


def generate(root: Path) -> list[Path]:
    """Write the modules of every definition under `root/proto`, and remove those whose definition is gone.

    Args:
        root: the project's folder.

    Returns:
        The folders that were written, relative to `root`; none when there is no definition.

    Raises:
        RuntimeError: protoc refused a definition; it has said why on standard error.
    """
    source = root / "proto"
    definitions = sorted(source.rglob("*.proto"))
    folders = sorted({file.parent.relative_to(source) for file in definitions})
    if not definitions:
        return []
    with tempfile.TemporaryDirectory() as scratch:
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={source}",
                f"--proto_path={resources.files('grpc_tools') / '_proto'}",
                f"--python_out={scratch}",
                f"--pyi_out={scratch}",
                f"--grpc_python_out={scratch}",
                *(str(file) for file in definitions),
            ]
        )
        if status != 0:
            raise RuntimeError(f"protoc failed with exit code {status}.")
        for folder in folders:
            made = Path(scratch) / folder
            (made / "__init__.py").write_text(PACKAGE_DOCSTRING, encoding="utf-8")
            replace_folder(root / folder, made)
    return folders


def replace_folder(target: Path, made: Path) -> None:
    """Make `target` hold exactly the files of `made`; a file that is the same already is not touched."""
    target.mkdir(parents=True, exist_ok=True)
    fresh = {file.name: file.read_bytes() for file in made.iterdir()}
    for file in target.iterdir():
        if file.is_file() and file.name not in fresh:
            file.unlink()
    shutil.rmtree(target / "__pycache__", ignore_errors=True)
    for name, content in fresh.items():
        file = target / name
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg,misc,unused-ignore]
    """Generates before the files of a wheel are chosen; git ignores them, so the hook names them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folders = generate(Path(self.root))
        build_data["artifacts"].extend(f"/{folder.as_posix()}/*.py*" for folder in folders)


if __name__ == "__main__":
    for written in generate(Path(__file__).resolve().parent):
        print(written.as_posix())
