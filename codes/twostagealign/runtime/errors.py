"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """A file, option or argument is not usable.

    Its text is one line that names the file or option, what was found and what is expected. The entry points print it
    and exit with code 2; nothing else catches it.
    """
