#!/bin/sh
# The manual page has no fault that mandoc knows of.
# Usage: manual.sh PAGE...
set -eu

command -v mandoc >/dev/null || exit 77
mandoc -Tlint -Wwarning "$@"
