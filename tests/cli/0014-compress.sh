#!/bin/sh
# uc compress does what the recipe that it saves does.
. "$(dirname "$0")/lib.sh"
small_project
expect 2 uc compress model
says "--calibration-data"
set -- model -c cal.txt --tokens 5k -e eval.txt --window 128 --limit 4 -b 4 -o made --license mit
expect 0 uc compress "$@" --save-recipe saved.uc.lua
expect 0 uc compress "$@" -q
[ -s made/model.safetensors ] || fail "no artifact"
cp made/ultracompress.json first.json
# 5,000 tokens are 20,000 bytes of the 24,000, up to the next end of a line
python3 -c 'import json; s = json.load(open("first.json"))["calibration"]["shards"]; assert len(s) == 1 and 20000 <= s[0]["bytes"] < 20500, s'
expect 0 uc build saved.uc.lua
says "nothing had to be done"
cmp -s made/ultracompress.json first.json || fail "the recipe gave another artifact"
mkdir sub
expect 0 uc compress "$@" --save-recipe sub/r.lua
expect 0 uc plan sub/r.lua
says "nothing to do"
grep -q "identified as" made/LICENSE || fail "LICENSE is no notice of the identifier"
