"""`python -m twostagealign` is the command `twostagealign`."""

from twostagealign.cli.command import main

if __name__ == "__main__":
    main()
