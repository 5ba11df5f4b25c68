#!/bin/sh
# Touching, reformatting, commenting or moving what a build reads makes nothing run.
. "$(dirname "$0")/lib.sh"
small_project
expect 0 uc build
touch model/* cal.txt eval.txt uc.lua
expect 0 uc build
says "still right; 1 actions"
expect 0 uc build
says "nothing had to be done"
printf -- '-- a comment\n\n' | cat - uc.lua >tmp && mv tmp uc.lua
expect 0 uc build
says "nothing had to be done"
mkdir elsewhere
cp -r model cal.txt eval.txt uc.lua elsewhere
expect 0 uc -C elsewhere build
ran=$(uc -C elsewhere log | grep -c '  ran' || true)
[ "$ran" -le 1 ] || fail "$ran actions ran for a copy of the folder"
cmp -s out/ultracompress.json elsewhere/out/ultracompress.json || fail "the copy gave other bytes"
