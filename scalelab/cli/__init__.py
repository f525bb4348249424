"""Build the command line and run one command; `run` is the one place that catches errors."""

import atexit
import errno
import gc
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scalelab.cli import (
    advise,
    answer,
    compare,
    data,
    doctor,
    estimate,
    keys,
    list_,
    new,
    plan,
    profile,
    query,
    recommend,
    report,
    schema,
    sweep,
    table,
)
from scalelab.cli.output import fail, note, quiet_pipes
from scalelab.core.errors import ScalelabError
from scalelab.core.private_folder import private_folder

__all__ = ["app", "run"]

# Some versions of Typer contain a copy of click, others import click. The class that all usage
# errors share is the parent of the one that Typer exports.
_ClickError: Any = typer.BadParameter.__mro__[2]

# What to do about a full disk, a quota or a limit on sizes, and about rights.
_SPACE = "free some space or choose another folder; what was stored before is kept"
_RIGHTS = "see the rights of that file and its folder, or choose another"
_OF_THE_DISK = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _SPACE) | dict.fromkeys(
    (errno.EROFS, errno.EACCES, errno.EPERM), _RIGHTS
)

# The groups of the help, in the order in which people need them.
_PLAN = "Predict what a run takes and whether it fits"
_RUN = "Run and measure"
_READ = "Read results"
_DATA = "Data sets"
_FIND = "Find and add parts, check the machine"


class _Interrupted(Exception):
    """Ctrl-C, under a name that Typer does not turn into a silent exit code."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error


app = typer.Typer(
    name="scalelab",
    cls=_Commands,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("plan", rich_help_panel=_PLAN, epilog=plan.EXAMPLE)(plan.main)
app.command("advise", rich_help_panel=_PLAN, epilog=advise.EXAMPLE)(advise.main)
app.command("estimate", rich_help_panel=_PLAN, epilog=estimate.EXAMPLE)(estimate.main)
app.command("sweep", rich_help_panel=_RUN, epilog=sweep.EXAMPLE)(sweep.main)
app.command("profile", rich_help_panel=_RUN, epilog=profile.EXAMPLE)(profile.main)
app.command("answer", rich_help_panel=_READ, epilog=answer.EXAMPLE)(answer.main)
app.command("query", rich_help_panel=_READ, epilog=query.EXAMPLE)(query.main)
app.command("report", rich_help_panel=_READ, epilog=report.EXAMPLE)(report.main)
app.command("table", rich_help_panel=_READ, epilog=table.EXAMPLE)(table.main)
app.command("recommend", rich_help_panel=_READ, epilog=recommend.EXAMPLE)(recommend.main)
app.command("compare", rich_help_panel=_READ, epilog=compare.EXAMPLE)(compare.main)
app.add_typer(data.app, name="data", rich_help_panel=_DATA)
app.command("list", rich_help_panel=_FIND, epilog=list_.EXAMPLE)(list_.main)
app.command("keys", rich_help_panel=_FIND, epilog=keys.EXAMPLE)(keys.main)
app.command("schema", rich_help_panel=_FIND, epilog=schema.EXAMPLE)(schema.main)
app.command("new", rich_help_panel=_FIND, epilog=new.EXAMPLE)(new.main)
app.command("doctor", rich_help_panel=_FIND, epilog=doctor.EXAMPLE)(doctor.main)


@app.callback(invoke_without_command=True, epilog="Example: scalelab sweep quickstart")
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Which loss and settings give the best ranking on my catalog and GPU, and will it fit?"""
    if version:
        from importlib import metadata

        typer.echo(f"scalelab {metadata.version('scalelab')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    atexit.register(_leave_garbage)
    _set_up_logging()
    _set_up_cache()
    code = _run(given)
    quiet_pipes()
    sys.exit(code)


def _leave_garbage() -> None:
    """Skip the last garbage collection: going through all objects of torch takes 0.8 s."""
    if not _leaks_are_listed():
        gc.freeze()


def _leaks_are_listed() -> bool:
    """Whether a library in use reports objects as leaks that are not collected at the end."""
    if "duckdb" in sys.modules:
        return True
    # From Triton 3.9 on. torch's FLOP counter imports it, so a plan does where it is installed.
    version = getattr(sys.modules.get("triton"), "__version__", "0.0")
    return tuple(map(int, version.split(".")[:2])) >= (3, 9)


def _set_up_logging() -> None:
    """Hide log lines (records and messages repeat them) unless tracebacks are wanted."""
    # torch's profiler writes lines from C++ into the live view. Torch reads this when it starts.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    if os.environ.get("SCALELAB_TRACEBACK"):
        logging.basicConfig(level=logging.WARNING)
    else:
        logging.getLogger("scalelab").addHandler(logging.NullHandler())


def _set_up_cache() -> None:
    """Choose where numba keeps compiled code for a user without a home folder."""
    # Where the package cannot be written either, it would make a folder called ~ right here.
    if os.path.expanduser("~") == "~" and "NUMBA_CACHE_DIR" not in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = str(private_folder() / "numba")


def _run(given: list[str]) -> int:
    as_json = "--json" in given
    try:
        command = typer.main.get_command(app)
        code = command.main(args=given, prog_name="scalelab", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ScalelabError as error:
        code, detail = error.exit_code, error.detail
        return fail(error.kind, error.message, error.hint, code, as_json=as_json, detail=detail)
    except _ClickError as error:
        return fail("usage", *_usage(error), 2, as_json=as_json)
    except (_Interrupted, KeyboardInterrupt, typer.Abort):
        if sys.stderr.isatty():
            note("")  # the terminal has written ^C where the cursor was
        return fail("interrupted", "interrupted", "", 130, as_json=as_json)
    except BrokenPipeError:
        return 0
    except MemoryError as error:
        hint = "this needs more memory than this machine has; give smaller numbers"
        return fail("memory", f"out of memory: {error}", hint, 1, as_json=as_json)
    except Exception as error:
        if os.environ.get("SCALELAB_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            where = f": {error.filename}" if error.filename else ""
            hint = _OF_THE_DISK[error.errno]
            return fail("files", f"{error.strerror}{where}", hint, 1, as_json=as_json)
        hint = "this is a bug in scalelab; set SCALELAB_TRACEBACK=1 to see the traceback"
        message = f"{type(error).__name__}: {error}"
        return fail("internal", message, hint, 1, as_json=as_json)


def _usage(error: Any) -> tuple[str, str]:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "scalelab"
    # pydantic, which checks values for typer, announces each message by its own class.
    message = error.format_message().replace("Value error, ", "")
    return message, f"see {command} --help"
