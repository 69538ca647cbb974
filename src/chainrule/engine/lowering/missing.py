"""What the native engine can't do."""


class NoKernel(Exception):  # noqa: N818
    """What has no kernel, in words."""
