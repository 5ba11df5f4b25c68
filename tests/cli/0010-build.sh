#!/bin/sh
# A build makes the whole folder; the second finds nothing to do; the artifact verifies and exports.
. "$(dirname "$0")/lib.sh"
small_project
expect 10 uc plan --check
expect 0 uc build
says "bits a weight"
for f in model.safetensors config.json ultracompress.json LICENSE LICENSE.base \
    tokenizer/tokenizer.json report/bench.json; do
    [ -s "out/$f" ] || fail "$f is missing"
done
bytes=$(stat -c %s out/model.safetensors)
[ "$bytes" -le $((918656 * 4 / 8)) ] || fail "model.safetensors has $bytes bytes"
[ "$bytes" -ge $((918656 * 4 / 8 * 999 / 1000)) ] || fail "model.safetensors has $bytes bytes only"
cp out/ultracompress.json first.json
mv out out.first
expect 0 uc --progress plain build
cmp -s out/ultracompress.json first.json || fail "the same build gave another manifest"
expect 0 uc build
says "nothing had to be done"
expect 0 uc plan --check
says "nothing to do"
expect 0 uc verify out
says PASS
expect 0 uc --json verify out
grep -q '"pass": true' .out || fail "verify --json"
