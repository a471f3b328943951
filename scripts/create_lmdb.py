"""Write clip folders to an LMDB: python scripts/create_lmdb.py --input CLIPS --output CLIPS.lmdb."""

from twostagealign.cli.create_lmdb import main
from twostagealign.cli.run import run

if __name__ == "__main__":
    run(main)
