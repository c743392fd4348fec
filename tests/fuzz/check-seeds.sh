#!/bin/sh
# Every seed that fuzz-seeds makes is in the corpus, byte for byte.
# Usage: check-seeds.sh FUZZ-SEEDS CORPUS
set -eu

seeds=$1
corpus=$2
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

"$seeds" "$made"
bad=0
for file in "$made"/*/*; do
	if ! cmp "$file" "$corpus/${file#"$made"/}"; then
		bad=1
	fi
done
if [ "$bad" -ne 0 ]; then
	echo "run: $seeds $corpus"
fi
exit "$bad"
