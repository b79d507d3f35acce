"""The `ofa-tk` program: a table of commands that are imported when called, and one way to report errors.

Exit codes: 0 done, 1 an error of ours (one line and a hint), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import difflib
import importlib
import io
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from ofa_tk import output, processes, streams
from ofa_tk.session import Session
from ofa_toolkit.core.errors import OfaToolkitError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "quickstart": ("ofa_tk.commands.quickstart:command", "Try everything on this CPU in under a minute."),
    "doctor": ("ofa_tk.commands.doctor:command", "Check versions, devices, back ends and folders."),
    "spaces": ("ofa_tk.commands.spaces:command", "List search spaces and show their choices."),
    "zoo": ("ofa_tk.commands.zoo:command", "List, fetch, check, package and upload supernets."),
    "data": ("ofa_tk.commands.data:command", "Look at your images before training."),
    "train": ("ofa_tk.commands.train:command", "Train a supernet by DϵpS, OFA, BigNAS or CompOFA."),
    "finetune": ("ofa_tk.commands.finetune:command", "Adapt one subnet to your images."),
    "evaluate": ("ofa_tk.commands.evaluate:command", "Measure the accuracy of subnets on images."),
    "predict": ("ofa_tk.commands.predict:command", "Classify pictures, with probabilities."),
    "pareto": ("ofa_tk.commands.pareto:command", "Compare supernets over their range of cost."),
    "study": ("ofa_tk.commands.study:command", "Compare recipes over seeds; figures of training."),
    "predictor": ("ofa_tk.commands.predictor:command", "Build and show accuracy predictors."),
    "latency": ("ofa_tk.commands.latency:command", "Latency tables: list, predict, measure, calibrate."),
    "search": ("ofa_tk.commands.search:command", "Find the best subnet for a budget."),
    "extract": ("ofa_tk.commands.extract:command", "Cut a subnet out as a plain torch network."),
    "report": ("ofa_tk.commands.report:command", "Write an HTML page about searches."),
    "export": ("ofa_tk.commands.export:command", "Write ONNX files and TensorRT engines, checked."),
    "lint": ("ofa_tk.commands.lint:command", "Tell whether a target would take an ONNX file."),
    "verify": ("ofa_tk.commands.verify:command", "Check what an exported file says about itself."),
    "benchmark": ("ofa_tk.commands.benchmark:command", "Time ONNX files here, side by side."),
}
"""Name -> where the command is, and its line in `ofa-tk --help`, in the order of a user's work."""

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a command only when it is called; `--help` needs the table alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and give it the options that every command has."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        command.name = cmd_name
        _prepare(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f" Did you mean '{close[0]}'?" if close else f" Commands: {', '.join(COMMANDS)}."
        raise click.UsageError(f"No such command '{name}'.{hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    session = ctx.find_object(Session)
    if value and session is not None:
        session.is_debug = True


def _debug_option(*, is_hidden: bool) -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        hidden=is_hidden,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )


def _prepare(command: click.Command) -> None:
    """Give a command what all have: `--debug` behind it too, where one adds it after an error."""
    if not any("--debug" in parameter.opts for parameter in command.params):
        command.params.append(_debug_option(is_hidden=True))
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            # The whole first sentence: click cuts it off unless told that it is the short help.
            inner.short_help = inner.get_short_help_str(limit=1000)
            _prepare(inner)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from ofa_toolkit.core.version import __version__

        output.line(f"ofa-tk {__version__}")
        ctx.exit()


cli = LazyGroup(
    name="ofa-tk",
    help=(
        "Train once-for-all supernets, search subnets for a device budget, extract and export them.\n\n"
        "Results go to stdout, logs to stderr. Start with `ofa-tk doctor`."
    ),
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    params=[
        _debug_option(is_hidden=False),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Show the version and exit.",
        ),
    ],
)


@click.pass_context
def _before_a_command(ctx: click.Context) -> None:
    command, session = ctx.invoked_subcommand, ctx.find_object(Session)
    if command is None:
        output.line(ctx.get_help())
    elif processes.is_not_shared(command):
        if processes.is_follower():
            ctx.exit()
        output.note(f"ofa-tk {command} works in one process; the others that torchrun started have ended.")
        processes.stand_alone()
    elif session is not None:
        session.is_silent = command in processes.SHARED and processes.is_follower()


cli.callback = _before_a_command


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; never raises for what a user can cause."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(is_json="--json" in words)
    try:
        result: Any = cli.main(args=words, prog_name="ofa-tk", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        return _report_usage(error, session)
    except (click.Abort, KeyboardInterrupt):
        return _report("Interrupted.", None, session, kind="Interrupted", exit_code=INTERRUPTED)
    except OfaToolkitError as error:
        return _report_ours(error, session)
    except ImportError as error:
        from ofa_toolkit.core.dependencies import missing_dependency

        missing = missing_dependency(error)
        return _report_bug(error, session) if missing is None else _report_ours(missing, session)
    except OSError as error:
        # A full disk or a vanished file: the system's doing, not a bug.
        where = f" ('{error.filename}')" if error.filename else ""
        return _report(f"{error.strerror or error}{where}.", None, session, kind="OSError")
    except MemoryError:
        return _report("There is not enough memory.", None, session, kind="MemoryError")
    except Exception as error:
        return _report_bug(error, session)


def _report_ours(error: OfaToolkitError, session: Session) -> int:
    return _report(error.message, error.hint, session, kind=type(error).__name__, exit_code=error.exit_code)


def _report_bug(error: Exception, session: Session) -> int:
    return _report(
        f"unexpected {type(error).__name__}: {error}",
        "This is a bug in ofa-toolkit. Run again with --debug and report what it prints.",
        session,
        kind="Bug",
    )


def _report_usage(error: click.ClickException, session: Session) -> int:
    shown = io.StringIO()
    error.show(shown)
    output.note(shown.getvalue().rstrip())
    return _report_document(error.format_message(), None, session, "UsageError", error.exit_code)


def _report(message: str, hint: str | None, session: Session, *, kind: str, exit_code: int = 1) -> int:
    if session.is_debug:
        output.note(traceback.format_exc().rstrip())
    if exit_code == INTERRUPTED:
        output.note(message)
    else:
        output.error(message, hint)
    return _report_document(message, hint, session, kind, exit_code)


def _report_document(message: str, hint: str | None, session: Session, kind: str, exit_code: int) -> int:
    """With `--json` an error is a document too, unless the command has printed its own."""
    if session.is_json and not session.has_document and not session.is_silent:
        output.print_json({"error": {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code}})
    return exit_code


def main() -> NoReturn:
    """Entry point of the `ofa-tk` script."""
    streams.install()
    sys.exit(run())
