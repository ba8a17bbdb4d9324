"""Numbers that can be believed: metrics, intervals, and the paper's tables beside ours."""
