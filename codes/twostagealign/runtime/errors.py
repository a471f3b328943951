"""The exceptions that stand for a mistake of the user."""


class UserError(Exception):
    """A file, option or argument is not usable.

    Its text is one line that names the file or option, says what is wrong and what to do. The entry points print it and
    exit with code 2; nothing else catches it.

    Args:
        text: the message. Line breaks in it (from quoted names and values) become spaces, other characters that a
            terminal would not show are escaped.
    """

    def __init__(self, text: str) -> None:
        line = " ".join(text.splitlines())
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line))


class JobError(UserError):
    """A `UserError` of one of several processes, which reports it for all of them."""
