"""One JSON request a line in, a process that sweeps (or the exit code of one) out.

Tests that kill drivers start many; each forks from this process, which has imported all it needs.
"""

import json
import os
import sys
import traceback

from sweeping_helpers import RecordingObserver, hooks

from scalelab.core.study import StudySpec
from scalelab.measure import session  # noqa: F401 - what a driver imports is imported here, once
from scalelab.sweeping import runner


class PrintingObserver(RecordingObserver):
    """Says on standard output what has started, and what is safe in the ledger."""

    def on_run_start(self, run_id):
        print("start", run_id, flush=True)

    def on_run_end(self, record):
        print("stored", record.run.run_id, record.run.outcome.value, flush=True)


def drive(request):
    descriptor = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.setsid()
    result = runner.sweep(
        StudySpec.model_validate(request["study"]),
        request["ledger"],
        executor=request["executor"],
        workers=2,
        observer=PrintingObserver(),
        hooks=hooks(),
    )
    return result.exit_code


def main():
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                code = drive(request)
            except BaseException:  # into the file that the test reads
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
