"""Films (`pnp-ovss video`): the method on every n-th frame, scores smoothed over time. Needs the extra `video` (PyAV)."""
