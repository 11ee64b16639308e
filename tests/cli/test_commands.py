# SPDX-License-Identifier: GPL-2.0-only
"""Commands that need no kernel: predict, generate, render, help."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from harness.cli import main
from harness.cli.root import _COMMANDS, cli
from reference_model.language import load_text
from tests.reference_model.test_language import GUEST, PGTABLE


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    return int(ended.value.code or 0)


def test_predict_json_is_one_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(GUEST + "---\n" + PGTABLE)
    assert run("predict", str(file), "--profile", "v6.12", "--env", "fwb=on", "--json") == 0
    guest, pgtable = json.loads(capsys.readouterr().out)
    assert guest["id"] == "dirty-after-clear"
    assert guest["profile"] == "v6.12"
    (third,) = guest["steps"][2]["allowed"]
    assert third.items() >= {"ret": 0, "dirty": [3], "faults": 0, "maps": []}.items()
    second = pgtable["steps"][1]["allowed"]
    assert len(second) == 1
    assert second[0]["ret"] == -11
    assert second[0]["leaves"] == [
        [0x80000000, 4096, 0x40000, "rw", 0, True, "normal", 3],
    ]


def test_predict_skip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(PGTABLE)
    assert run("predict", str(file), "--profile", "v5.10", "--json") == 0
    (skipped,) = json.loads(capsys.readouterr().out)
    assert set(skipped) == {"id", "profile", "skip"}
    assert skipped["skip"]


def test_predict_for_readers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(GUEST)
    assert run("predict", str(file), "--profile", "v6.12") == 0
    out = capsys.readouterr().out
    assert "write 0x80003000 +8 <- 0x11" in out
    assert "dirty {3}" in out


def test_generate_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run("generate", "--suite", "guest", "--count", "3", "-o", str(tmp_path / name)) == 0
    first = sorted((tmp_path / "a").iterdir())
    assert len(first) == 3
    for file in first:
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_render_prints_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(GUEST)
    assert run("render", str(file), "--profile", "v6.12") == 0
    out = capsys.readouterr().out
    assert "static void test_dirty_after_clear(void)" in out
    assert "dirty_get(vm, 1)" in out


ROOT = Path(__file__).resolve().parents[2]


def examples(command: click.Command) -> Iterator[list[str]]:
    """The commands that a help, and those of its subcommands, give as examples: their words."""
    for text in (command.help or "").splitlines():
        line = text.strip().removeprefix("Example: ")
        if line.startswith("harness "):
            yield from (shlex.split(part)[1:] for part in line.split(" && "))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                yield from examples(below)


@pytest.mark.parametrize("words", list(examples(cli)), ids=" ".join)
def test_examples_of_help_can_be_given(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None
        command, words = found, words[1:]
    command.make_context("harness", list(words))
    files = [Path(word) for word in words if word.startswith("scenarios")]
    assert all(file.exists() for file in files)
    if "--id" in words:
        (file,) = files
        ids = [scenario.id for scenario in load_text(file.read_text(), file.name)]
        assert words[words.index("--id") + 1] in ids


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, "--help") == 0
    out = capsys.readouterr().out
    assert "harness " in out
    if name not in {"kernels", "targets"}:
        assert "Example" in out
