"""Errors that a user can do something about: one clear line, exit code 2."""


class UserError(Exception):
    """Bad input or a missing part. The message is one line and says what to do next."""
