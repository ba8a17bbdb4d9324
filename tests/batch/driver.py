"""`python driver.py JSON`: a batch in a process of its own, which tests may kill. Keys: see below."""

import json
import resource
import sys
from pathlib import Path

if __name__ == "__main__":
    from poison import job

    from pnp_ovss.batch.job import Resources
    from pnp_ovss.batch.run import run_batch
    from pnp_ovss.errors import PnPError

    given = json.loads(sys.argv[1])
    if limit := given.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    what = job(**given.get("job", {}))
    how = Resources(workers=2, **given.get("resources", {}))
    options = {"engine": given.get("engine", "local"), "shard_size": 40, "resume": given.get("resume", False)}
    try:
        run_batch(given["inputs"], Path(given["out"]), what, how, **options)
    except PnPError as error:
        print(f"driver: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("driver: stopped", file=sys.stderr)
        sys.exit(130)
