#!/bin/sh
# kill -9 at random moments and the same command again: the same artifact, and never half of one.
. "$(dirname "$0")/lib.sh"
small_project
"$UC_BIN" -q --cache c0 build || fail "first build"
sha256sum <out/model.safetensors >want
rm -rf out
seed=${UC_TEST_SEED:-$(date +%N | sed 's/^0*//')}
echo "seed $seed (UC_TEST_SEED repeats it)"
i=0
while [ $i -lt 20 ]; do
    i=$((i + 1))
    wait_s=$(python3 -c "import random; print(random.Random($seed * 100 + $i).uniform(0.01, 1.2))")
    "$UC_BIN" -q build >.out 2>.err &
    pid=$!
    sleep "$wait_s"
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    [ ! -e out ] || uc verify out >.out 2>&1 || { cat .out; fail "half an artifact after kill $i"; }
done
expect 0 uc -q build
sha256sum <out/model.safetensors >got
cmp -s got want || fail "other bytes after the kills"
