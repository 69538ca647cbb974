"""The error for what the native engine can't do."""


class NoKernel(Exception):  # noqa: N818
    """Something has no kernel; the message says what."""
