#!/bin/sh
# Calibration texts that cannot be read name the file and the line or byte.
. "$(dirname "$0")/lib.sh"
small_project
none() { [ ! -e out ] || fail "a folder was left"; }
: >cal.txt
expect 3 uc build
says "cal.txt"
none
printf 'good\n\377\376 bad\n' >cal.txt
expect 3 uc build
says "cal.txt"
says "UTF-8"
none
printf '{"text": "one"}\n{"text": "two"\n' >cal.jsonl
sed 's/text "cal.txt"/jsonl "cal.jsonl"/' uc.lua >j.lua
expect 3 uc build j.lua
says "cal.jsonl:2"
none
printf '{"text": "one"}\n{"words": "two"}\n' >cal.jsonl
expect 3 uc build j.lua
says "cal.jsonl:2"
none
