#!/bin/sh
# Every shell script passes shellcheck; skipped if that is not installed.
#
#	shell.sh ROOT
set -eu

command -v shellcheck >/dev/null || exit 77
cd "$1"
find .ci tools tests bench -type f -exec awk '
	FNR == 1 && /^#!.*[/ ](ba)?sh$/ { print FILENAME }
	{ nextfile }' {} + | sort | xargs -t shellcheck
