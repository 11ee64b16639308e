# SPDX-License-Identifier: GPL-2.0-only
"""The ``harness`` command: its list of commands, and how failures end."""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType
from typing import Any

import click

from harness import __version__
from harness.vocabulary import HarnessError

_COMMANDS = {
    "bench": "the figures of the performance goals, as ratios taken in one run",
    "diff": "model against kernel, step by step, first difference marked",
    "doctor": "what this machine can do, what is missing and how to get it",
    "generate": "write scenarios, reproducibly",
    "kernels": "kernels that can be booted: list, fetch",
    "predict": "what the model allows, step by step",
    "render": "the C selftest of a scenario",
    "history": "across runs: last match, flaky, slower",
    "replay": "run one stored finding again",
    "report": "a stored run as text, HTML, JUnit, KTAP, JSON lines or KCIDB",
    "repro": "a finding as one C file that needs nothing of this project",
    "run": "generate or load, predict, render, build, run, compare, report",
    "shrink": "the smallest scenario with the same finding, or that tells two kernels apart",
    "targets": "places where selftests run: list, probe, up, down",
}


class _LazyGroup(click.Group):
    """Commands are imported when asked for: ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See :class:`click.Group`."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return it; None if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"harness.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Their help is listed here already: none is imported."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
@click.option("--debug", is_flag=True, help="Show tracebacks of expected failures.")
def cli(debug: bool) -> None:
    """Differential testing of KVM/arm64 stage-2 against a reference model.

    Exit status: 0 all compared and matched; 1 a DIVERGE, CRASH, HANG or FLAKY; 2 wrong usage or
    input; 3 the machine, link or compiler failed, or nothing was compared; 130 interrupted.

    \b
    Example: harness run --suite guest --count 50 --kernel debian:trixie
    """
    del debug


def run(argv: list[str] | None = None) -> None:
    """Run the command and end with the exit status of the contract."""
    args = sys.argv[1:] if argv is None else argv
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        status: Any = cli.main(
            args=args, prog_name="harness", standalone_mode=False, obj=tuple(args)
        )
    except click.exceptions.Exit as ended:
        status = ended.exit_code
    except click.ClickException as error:
        error.show()
        status = 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("harness: interrupted", err=True)
        status = 130
    except BrokenPipeError:
        # The reader went away (a pager, head): not an error worth words.
        sys.stderr.close()
        status = 141
    except (HarnessError, ValueError, OSError) as error:
        status = _fail(error, debug=debug)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(error: Exception, *, debug: bool) -> int:
    from reference_model.documents import ScenarioError  # noqa: PLC0415
    from reference_model.guest_machine import UnpredictableError  # noqa: PLC0415

    if debug:
        raise error
    if isinstance(error, HarnessError):
        status = error.exit_status
    elif isinstance(error, (ScenarioError, UnpredictableError)):
        status = 2
    elif isinstance(error, OSError) and error.filename is not None:
        status = 3
    else:
        raise error
    text = " ".join(str(error).split())
    click.echo(f"harness: {text}", err=True)
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
