#!/bin/sh
# Comments, messages and documents are spelled right; skipped without codespell.
#
#	spelling.sh ROOT
set -eu

command -v codespell >/dev/null || exit 77
cd "$1"
for name in include src cli tools tests bench docs .ci Makefile NEWS ./*.md; do
	[ ! -e "$name" ] ||
		codespell -L inflight --skip='*.bin,*.qcow2,*/corpus/*,__pycache__' "$name"
done
