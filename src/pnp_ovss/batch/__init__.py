"""A corpus, not a photo: every photo of a collection ends as exactly one row, whatever happens on the way.

`job` says what is done, `sources` and `inventory` what to, `rows` and `folder` what comes out, `worker` and `pool` who
does it, `run` and `ray_engine` where; `report` looks at the result.
"""
