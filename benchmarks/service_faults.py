"""kill -9 of the worker and of the service at random moments: no job lost, none done twice, every client told.

Run: `python benchmarks/service_faults.py --worker-kills 50 --service-kills 50`. Scripted workers stand in for the
pipeline; service, store, client and processes are the real ones. The last line is JSON. Limit: every list empty.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))
from campaign import as_dict, run_campaign  # noqa: E402


def main() -> int:
    """Run and print; exit status 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker-kills", type=int, default=50)
    parser.add_argument("--service-kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        account = run_campaign(Path(folder), args.worker_kills, args.service_kills, args.seed)
    for name, value in as_dict(account).items():
        print(f"{name:18} {len(value) if isinstance(value, list) else value}")
    print(json.dumps(as_dict(account)))
    return 0 if account.is_clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
