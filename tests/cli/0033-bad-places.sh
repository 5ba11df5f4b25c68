#!/bin/sh
# Budgets that cannot be met and places that cannot be written: the exit code says which, and what was
# there stays as it was.
. "$(dirname "$0")/lib.sh"
small_project
sed 's/output = "out"/output = "out", size = "8 KB"/' uc.lua >s.lua
expect 2 uc build s.lua
says "cannot be reached"
expect 2 uc build --set bpw=12
says "cannot be reached"
[ ! -e out ] || fail "a folder was left"
mkdir out
echo mine >out/file
expect 1 uc build
says "out"
[ "$(ls out)" = file ] || fail "a folder that uc did not make was changed"
rm -r out
expect 6 uc build --device cuda:0
says "cuda:0"
if [ "$(id -u)" != 0 ]; then
    mkdir locked
    chmod 555 locked
    sed 's/output = "out"/output = "locked\/out"/' uc.lua >l.lua
    expect 1 uc build l.lua
fi
mkdir newer
echo 'uc-cache 999' >newer/format
expect 7 uc --cache newer build
says "newer"
mkdir other
echo hello >other/notes.txt
expect 2 uc --cache other build
expect 0 uc build
[ -s out/model.safetensors ] || fail "no artifact after all"
