"""List the checkpoints that come with the project: python codes/list_models.py."""

from twostagealign.cli.list_models import main
from twostagealign.cli.run import run

if __name__ == "__main__":
    run(main)
