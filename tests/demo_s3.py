"""The demo out of a bucket: a real S3 server on this machine, the shipped runs converted into it, served and drawn.

python tests/demo_s3.py         # Ctrl-C ends it, and the bucket with it; DEMO_ONCE=1 ends it after the draw
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from drawpoint_cli.commands import demo
from s3 import run_s3

RUNS = Path(__file__).resolve().parents[1] / demo.SHIPPED_RUNS
ROOT = f"s3://drawpoint/{demo.STORE_ID}"


def main() -> int:
    """Return 0 after the draw or Ctrl-C, 1 if a step failed."""
    demo.say("starting an S3 server (SeaweedFS) with the bucket `drawpoint`")
    with run_s3("drawpoint") as bucket, tempfile.TemporaryDirectory() as folder:
        os.environ.update(bucket.environment)
        demo.say(*(f"export {name}={value}" for name, value in bucket.environment.items()))
        if status := demo.make_store(RUNS, ROOT):
            return status
        port = demo.choose_port(8000)
        url = f"http://127.0.0.1:{port}"
        with demo.serve(ROOT, port, url, Path(folder, "service.log")) as service:
            address = demo.show_draw(url, ROOT)
            if os.environ.get("DEMO_ONCE", "") in ("", "0"):
                demo.stay_up(service, url, address)
    return 0


if __name__ == "__main__":
    sys.exit(main())
