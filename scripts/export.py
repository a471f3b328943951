"""Export a checkpoint: python scripts/export.py --checkpoint tiny --format onnx."""

from twostagealign.cli.export import main
from twostagealign.cli.run import run

if __name__ == "__main__":
    run(main)
