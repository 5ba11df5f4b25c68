#!/bin/sh
# Global options stand before and after the command; wrong ones say what was meant; exit code 2.
. "$(dirname "$0")/lib.sh"
mkdir sub
echo 'project { name = "x" }' >sub/uc.lua
expect 2 uc -C sub plan
says "makes no artifact"
expect 2 uc plan -C sub
says "makes no artifact"
expect 2 uc -qC sub --cache "$T/c2" plan
expect 2 uc bulid
says "did you mean 'uc build'"
expect 2 uc plan --jbos 3
says "did you mean --jobs"
expect 2 uc plan -j many
says "not a whole number"
expect 2 uc plan --memory lots
expect 2 uc plan --color sometimes
expect 2 uc info
says "usage: uc info DIR"
expect 2 uc info a b
expect 2 uc --json plan
grep -q '"error"' .out || fail "--json prints no error object"
[ ! -s .err ] || fail "--json prints errors to stderr as well"
expect 2 uc plan --json
grep -q '"code": 2' .out || fail "the error object has no code"
expect 2 uc plan
says "no recipe"
expect 0 uc --json version
grep -q '"uc"' .out || fail "version --json"
expect 0 uc --version
says "uc 0"
expect 0 uc plan --version
says "uc 0"
expect 2 uc compress nowhere -c x.txt
says "nowhere"
grep -q "(uc compress)" .err && fail "the place in a recipe that nobody wrote" || true
