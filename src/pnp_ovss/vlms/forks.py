"""Forked children of a process that has segmented: they go on with one thread."""

import os

import torch


def _one_thread() -> None:
    """torch's other threads stay in the parent, and a child that waits for them hangs for ever."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread)
