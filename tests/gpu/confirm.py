"""Confirm on one GPU what the package claims: run it, measure it, and keep what was found.

    python tests/gpu/confirm.py --seconds 540 --out FOLDER [--only a,b] [--data FOLDER]

Sections run in order of worth, each in a process of its own (no section sees another's CUDA context
or its errors) and within seconds of its own. What a section notes is printed at once and kept in
FOLDER/confirm.json and FOLDER/log.txt. With `--device cpu` every section runs with tiny sizes.
See README.md beside this file.
"""

import argparse
import importlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from call import ROOT, Call, OutOfTime

__all__ = ["SECTIONS", "chosen", "main"]

# In order of worth, with their shares of the time: about the seconds that an H200 needs, and for
# `losses`, which takes all that it is given, what is left of 540. A section that ends early leaves
# its rest to the later ones.
SECTIONS = {
    "machine": 3,
    "oracle": 18,
    "gpu_tests": 50,
    "memory": 105,
    "probe": 20,
    "training": 40,
    "budgets": 26,
    "out_of_memory": 18,
    "resume": 20,
    "reproducible": 18,
    "largest": 25,
    "sampled": 17,
    "catalog": 70,
    "losses": 110,
}
# Slow to import, wanted by every section; none of them touches CUDA, as the product's own server,
# which forks as well, relies on.
PRELOADED = ("torch", "torch._dynamo", "scalelab.measure.session", "scalelab.planning.predict")
MOST_BYTES = 200_000
# What a section may take beyond its seconds, to store what it has found.
ENDING_S = 8


def chosen(only: str) -> list[str]:
    """The sections of a list such as "memory,losses", in order of worth; all where it is empty.

    Raises ValueError for one that does not exist.
    """
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    for name in wanted:
        if name not in SECTIONS:
            raise ValueError(f"no section called {name!r}; there are: {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if not wanted or name in wanted]


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="confirm.py", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for what is found")
    parser.add_argument("--seconds", type=float, default=540, help="for the whole call")
    parser.add_argument("--only", default="", help="sections, as in memory,losses")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a dry run")
    parser.add_argument("--data", type=Path, help="folder with amazon-beauty [$SCALELAB_DATA]")
    parser.add_argument("--oracle", type=Path, help="folder with the papers' cases")
    return parser.parse_args(words)


class _Said(logging.Handler):
    """What the package logs and what Python warns of belongs to what was found."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def emit(self, record: logging.LogRecord) -> None:
        """One line of the log."""
        self._call.say(f"{record.levelname}: {' '.join(record.getMessage().split())[:500]}")


def _perform(call: Call) -> None:
    """Run one section in this process, which is its own."""
    os.setpgid(0, 0)
    logging.captureWarnings(True)
    logging.basicConfig(level=logging.WARNING, handlers=[_Said(call)], force=True)
    try:
        importlib.import_module(f"sections.{call.name}").run(call)
        call.note(outcome="done")
    except OutOfTime as error:
        call.note(outcome=f"out of time: {error}")
    except BaseException as error:  # whatever it is, it is what was found
        call.say(traceback.format_exc())
        call.note(outcome=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
    sys.stdout.flush()
    os._exit(0)


def _section(call: Call, last_s: float) -> dict[str, Any]:
    """What one section found, by a process that is killed after `last_s` seconds."""
    call.say(f"begins, {call.seconds:.0f} s")
    begun = time.perf_counter()
    process = multiprocessing.get_context("fork").Process(target=_perform, args=(call,))
    process.start()
    assert process.pid is not None
    process.join(last_s)
    killed = process.is_alive()
    # Also where it ended by itself: what it started must not disturb the next section.
    _end_group(process.pid)
    process.join()
    found = json.loads(call.file.read_text(encoding="utf-8")) if call.file.is_file() else {}
    if killed:
        found["outcome"] = f"killed after {last_s:.0f} s"
    elif "outcome" not in found:
        found["outcome"] = f"died with exit status {process.exitcode}"
    found["seconds"] = round(time.perf_counter() - begun, 1)
    call.say(f"{found['outcome']} in {found['seconds']} s")
    return found


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing of it is left


def _a_gpu_answers() -> bool:
    """Asked in a process of its own: CUDA must not start in the one that sections fork from."""

    def ask() -> None:
        import torch

        os._exit(0 if torch.cuda.is_available() else 1)

    process = multiprocessing.get_context("fork").Process(target=ask)
    process.start()
    process.join()
    return process.exitcode == 0


def _write(out: Path, facts: dict[str, Any]) -> None:
    """One line per row: short, and readable in a difference."""
    lines: list[str] = []
    for name, section in facts.items():
        if not isinstance(section, dict):
            lines.append(f"{json.dumps(name)}: {json.dumps(section)}")
            continue
        inner = [f"  {json.dumps(key)}: {_rows(value)}" for key, value in section.items()]
        lines.append(f"{json.dumps(name)}: {{\n" + ",\n".join(inner) + "}")
    (out / "confirm.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _rows(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n   " + ",\n   ".join(json.dumps(row) for row in value) + "]"
    return json.dumps(value)


def _summary(facts: dict[str, Any]) -> list[str]:
    lines = []
    for name, section in facts.items():
        if not isinstance(section, dict):
            continue
        checks = section.get("checks", [])
        failed = [check for check in checks if not check["passed"]]
        passed = len(checks) - len(failed)
        lines.append(f"{name}: {section['outcome']}, {passed} of {len(checks)} checks passed")
        lines += [f"  FAIL {check['what']} ({check['found']})" for check in failed]
    return lines


def main(words: list[str] | None = None) -> int:
    """Run the sections. Returns 0 where all ended and every check passed, 1 if not, 2 if asked
    for something that does not exist.
    """
    asked = _arguments(words)
    try:
        names = chosen(asked.only)
    except ValueError as error:
        print(f"confirm.py: {error}", file=sys.stderr)
        return 2
    begun = time.perf_counter()
    (asked.out / "parts").mkdir(parents=True, exist_ok=True)
    out = asked.out.resolve()
    (out / "log.txt").write_text("", encoding="utf-8")
    if asked.data is not None:
        os.environ["SCALELAB_DATA"] = str(asked.data.resolve())
    if asked.oracle is not None:
        os.environ["SCALELAB_ORACLE"] = str(asked.oracle.resolve())
    # Otherwise a question whether there is a GPU would make CUDA unusable after a fork.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    for module in PRELOADED:
        importlib.import_module(module)
    if asked.device.startswith("cuda") and not _a_gpu_answers():
        print("confirm.py: no CUDA GPU found; write --device cpu for a dry run", file=sys.stderr)
        return 2
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["confirm.py", *(sys.argv[1:] if words is None else words)]),
    }
    for place, name in enumerate(names):
        left = asked.seconds - (time.perf_counter() - begun)
        weights = [SECTIONS[later] for later in names[place:]]
        call = Call(
            name=name,
            out=out,
            device=asked.device,
            # Also the last one, which gets all that is left, ends before it is killed.
            seconds=max(1.0, left - ENDING_S) * weights[0] / sum(weights),
            call_begun=begun,
        )
        call.file.unlink(missing_ok=True)
        facts[name] = _section(call, max(1.0, min(1.3 * call.seconds + 5, left - 1)))
        _write(out, facts)
    facts["seconds"] = round(time.perf_counter() - begun, 1)
    _write(out, facts)
    lines = _summary(facts)
    size = (out / "confirm.json").stat().st_size
    if size > MOST_BYTES:
        lines.append(f"confirm.json has {size} bytes, more than {MOST_BYTES}: do not keep it whole")
    lines.append(f"{facts['seconds']} s in all; see {out / 'confirm.json'}")
    with (out / "log.txt").open("a", encoding="utf-8") as log:
        log.write("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)
    sections = [section for section in facts.values() if isinstance(section, dict)]
    good = all(
        section["outcome"] == "done" and all(check["passed"] for check in section.get("checks", []))
        for section in sections
    )
    return 0 if good else 1


if __name__ == "__main__":
    assert ROOT.is_dir()
    sys.exit(main())
