#!/bin/sh
# A dense export holds the very weights that bench measured: it scores the same to the last digit.
. "$(dirname "$0")/lib.sh"
small_project
expect 0 uc build
expect 0 uc export out --format dense -o dense
expect 0 uc info dense
says "918656"
uc --json bench out --against model --corpus eval.txt --window 128 --limit 4 >coded.json
uc --json bench dense --against model --corpus eval.txt --window 128 --limit 4 >dense.json
cmp -s coded.json dense.json || fail "coded and dense weights score differently"
python3 - <<'PY'
import json
a, b = json.load(open("coded.json")), json.load(open("out/report/bench.json"))
for k in ("ppl", "kld_mean", "top1_agreement"):
    assert a[k] == b[k], (k, a[k], b[k])
PY
expect 2 uc export out -o dense
says "not overwritten"
expect 2 uc export model -o other
