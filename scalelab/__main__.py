"""Start the command line, for `python -m scalelab`."""

import os
import sys

if __name__ == "__main__":
    # `python -m` looks for modules in the working folder first. A file called numpy.py there must
    # not take the place of the real one; the command `scalelab` does not look there either.
    if not sys.flags.safe_path and sys.path[0] == os.getcwd():
        del sys.path[0]
    from scalelab.cli import run

    run()
