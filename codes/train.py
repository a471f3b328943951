"""Train a network: python codes/train.py -opt options/train/two_stage_tiny.yml."""

from twostagealign.cli.run import run
from twostagealign.cli.train import main

if __name__ == "__main__":
    run(main)
