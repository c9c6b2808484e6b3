"""Errors that a user can do something about: one clear line, exit code 2."""


class UserError(Exception):
    """Bad input or a missing part. The message is one line and says what to do next."""


class PromptTooLong(UserError):
    """A model cannot read what it is asked about one theorem: that theorem's fault, which must not end a batch of others."""
