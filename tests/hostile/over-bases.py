#!/usr/bin/env python3
"""Runs a C program over freshly made base images.

  over-bases.py PROGRAM [NAME]   PROGRAM DIR, or PROGRAM DIR/NAME.qcow2
"""

import os
import subprocess
import sys
import tempfile

from generate import write_bases


def main():
    with tempfile.TemporaryDirectory(prefix='hostile-') as tmp:
        write_bases(tmp)
        what = tmp
        if len(sys.argv) > 2:
            what = os.path.join(tmp, sys.argv[2] + '.qcow2')
        return subprocess.run([sys.argv[1], what], check=False).returncode


if __name__ == '__main__':
    code = main()
    sys.exit(code if code >= 0 else 128 - code)
