"""Errors that a user can correct: one clear line, exit code 2."""


class UserError(Exception):
    """Bad input or a missing part. The message is one line and says what to do next."""


class PromptTooLong(UserError):
    """The prompt for one theorem is too long for the model. This must not end a batch of other theorems."""
