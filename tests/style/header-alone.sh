#!/bin/sh
# The public header compiles alone, strictly, in every language it promises.
#
#	header-alone.sh INCLUDE_DIR SOURCE CC [FLAG...]
set -eu

include=$1
source=$2
shift 2

compile() {
	echo "$*"
	"$@" -I"$include" -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow \
		-Wundef -Wconversion -Wcast-qual -Werror "$source"
}

for std in c99 c11 c17 gnu99; do
	compile "$@" -x c -std=$std -Wstrict-prototypes
done
for std in c++11 c++17; do
	compile "$@" -x c++ -std=$std -Wold-style-cast
done
