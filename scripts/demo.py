"""Make a noisy raw burst from a photograph or a clip, restore it, and draw the result next to classical methods."""

from twostagealign.cli.demo import main
from twostagealign.cli.run import run

if __name__ == "__main__":
    run(main)
