#!/bin/sh
# The C example in the README is the file that the install suite compiles.
# Usage: readme.sh README EXAMPLE
set -eu

awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$1" | diff -u "$2" -
