"""Restore a burst of raw frames, or degrade a clip of ordinary pictures and restore it."""

from twostagealign.cli.restore import main
from twostagealign.cli.run import run

if __name__ == "__main__":
    run(main)
