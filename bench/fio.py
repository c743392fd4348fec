#!/usr/bin/env python3
"""Runs one load of fio's and prints its time as `qemu-img bench` does.

Usage: fio.py FILE KIND REQUEST_BYTES REQUESTS FILE_BYTES DEPTH DIRECT NEW
"""

import json
import os
import subprocess
import sys


def seconds(report):
    """Returns the time of the one job, without fio's start."""
    job = report["jobs"][0]
    return max(job["read"]["runtime"], job["write"]["runtime"]) / 1000


def main():
    file, kind, size, n_requests, file_size, depth, direct, new = sys.argv[1:]
    if new == "1" and os.path.exists(file):
        os.unlink(file)
    done = subprocess.run(
        ["fio", "--name=load", f"--filename={file}", f"--rw={kind}",
         f"--bs={size}", f"--number_ios={n_requests}", f"--size={file_size}",
         f"--iodepth={depth}", f"--direct={direct}", "--ioengine=io_uring",
         "--fallocate=none", "--overwrite=0", "--output-format=json"],
        check=True, stdout=subprocess.PIPE)
    print(f"Run completed in {seconds(json.loads(done.stdout)):.6f} seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
