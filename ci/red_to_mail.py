#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Walks docs/from-red-to-mail.md on real kernels and puts in what is printed.

    python ci/red_to_mail.py

Run in the project's virtual environment, from anywhere; boots debian:trixie and debian:bookworm.
A block stands between ``<!-- WHAT -->`` and ``<!-- end -->``; WHAT is ``$ command``, ``head N
FILE``, or ``module FILE`` and ``program FILE``, which are built and run on the warm guest.
``{red}`` and ``{small}`` are the ids of the first finding that has a C file and of what is left
of it, ``{guest}`` that of the guest's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.targets import Target, open_named  # noqa: E402
from tests.live.repro_guest import run_module, run_program  # noqa: E402

PAGE = ROOT / "docs" / "from-red-to-mail.md"
_BLOCK = re.compile(r"<!-- ((?:\$|head|module|program) .+?) -->\n.*?<!-- end -->", re.DOTALL)
_STAMP = re.compile(r"^\[ *\d+\.\d+\] ", re.MULTILINE)
#: Lines of one output that are shown: its beginning and its end.
_FIRST, _LAST = 26, 10
_LIMIT = 1200


def main() -> int:
    """Rewrite the page; the exit status."""
    with tempfile.TemporaryDirectory(prefix="red-to-mail-") as folder:
        walk = Walk(Path(folder))
        try:
            page = _BLOCK.sub(walk.block, PAGE.read_text(encoding="utf-8"))
        finally:
            walk.harness("targets", "down", "--all")
    PAGE.write_text(page, encoding="utf-8")
    return 0


class Walk:
    """One walk: a working directory, a warm guest, and the ids that came up."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "scenarios").symlink_to(ROOT / "scenarios")
        os.environ["HARNESS_STATE"] = str(place / "state")
        self.ids: dict[str, str] = {}

    def harness(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command; stderr goes where a terminal has it, between the lines of stdout."""
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=self.place,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def block(self, found: re.Match[str]) -> str:
        """One block with what it prints now."""
        what = found[1]
        kind, _, rest = what.partition(" ")
        print(what, flush=True)
        if kind == "$":
            return self._wrapped(what, self._command(rest))
        if kind == "head":
            count, name = rest.split()
            lines = (self.place / name).read_text(encoding="utf-8").splitlines()
            return self._wrapped(what, [*lines[: int(count)], "…"], "c")
        target = open_named("warm")
        try:
            return self._wrapped(what, self._built(kind, rest, target))
        finally:
            target.close()

    def _command(self, command: str) -> list[str]:
        for name, ident in self.ids.items():
            command = command.replace(f"{{{name}}}", ident)
        _, *arguments = shlex.split(command)
        done = self.harness(*arguments)
        if done.returncode not in (0, 1):
            raise SystemExit(f"$ {command}: status {done.returncode}\n{done.stdout}")
        self._note_ids(arguments)
        lines = [_plain(line, self.place) for line in done.stdout.rstrip("\n").split("\n")]
        if len(lines) > _FIRST + _LAST:
            cut = f"… {len(lines) - _FIRST - _LAST} lines …"
            lines = [*lines[:_FIRST], cut, *lines[-_LAST:]]
        return [f"$ {command}", *lines]

    def _note_ids(self, arguments: list[str]) -> None:
        name = {"run": "red", "shrink": "small", "diff": "guest"}.get(arguments[0])
        if name is None or name in self.ids:
            return
        if arguments[0] == "diff" and "--profile" not in arguments:
            return
        done = self.harness("diff", "--json")
        text = done.stdout[done.stdout.index("[\n") :]
        findings = [one for one in json.loads(text) if one["verdict"] == "DIVERGE"]
        visible = [
            one
            for one in findings
            if one["differences"][0]["channel"] in ("ret", "leaves", "exit", "injected", "data")
        ]
        if not visible:
            raise SystemExit(f"harness {shlex.join(arguments)}: no finding that a C file can show")
        self.ids[name] = visible[0]["short_id"]

    def _built(self, kind: str, name: str, target: Target) -> list[str]:
        text = (self.place / name).read_text(encoding="utf-8")
        stem = name.removesuffix(".c")
        folder = self.place / f"built-{stem}"
        folder.mkdir(exist_ok=True)
        if kind == "module":
            status, log = run_module(target, text, folder)
            shown = _STAMP.sub("", log).splitlines()
            return [f"# insmod ./{stem}.ko; echo $?; dmesg", str(status), *shown]
        status, output = run_program(target, text, folder)
        return [f"$ ./{stem}; echo $?", *output.splitlines(), str(status)]

    @staticmethod
    def _wrapped(what: str, lines: list[str], language: str = "") -> str:
        text = "\n".join(line.rstrip() for line in lines)
        return f"<!-- {what} -->\n```{language}\n{text}\n```\n<!-- end -->"


def _plain(line: str, place: Path) -> str:
    return line.replace(str(place), "…")


if __name__ == "__main__":
    sys.exit(main())
