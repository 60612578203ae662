"""The one exception for things the user can put right."""


class UserError(ValueError):
    """A mistake in the arguments or a file that cannot be used.

    The message is one line: what is wrong, with which file, and what to do about it. Scripts print
    it and exit with code 2 (`common.cli.run`); library users catch it as a ValueError.
    """
