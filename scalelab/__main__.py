"""Start the command line, for the command `scalelab` and for `python -m scalelab`."""

import os
import sys


def main() -> None:
    """Run one command. Ctrl-C ends it as quietly while its modules are loaded as it does later."""
    try:
        from scalelab.cli import run

        run()
    except KeyboardInterrupt:
        # Nothing more is loaded to say so: this is what the command line says.
        document = '{"error": {"kind": "interrupted", "message": "interrupted", "hint": ""}}'
        if "--json" in sys.argv[1:]:
            sys.stdout.write(f"{document}\n")
        else:
            # The terminal has written ^C where the cursor was.
            sys.stderr.write("\ninterrupted\n" if sys.stderr.isatty() else "interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    # `python -m` looks for modules in the working folder first. A file called numpy.py there must
    # not take the place of the real one; the command `scalelab` does not look there either.
    if not sys.flags.safe_path and sys.path[0] == os.getcwd():
        del sys.path[0]
    main()
