"""`python -m scalelab` in, the command line out."""

from scalelab.cli import run

if __name__ == "__main__":
    run()
