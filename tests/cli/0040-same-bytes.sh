#!/bin/sh
# The artifact's bytes do not depend on the number of cores nor on the instruction set.
. "$(dirname "$0")/lib.sh"
small_project
one() { # NAME COMMAND...
    name=$1
    shift
    "$@" >.out 2>.err || { cat .out .err; fail "$name"; }
    sha256sum <out/ultracompress.json >"sum.$name"
    sha256sum <out/model.safetensors >>"sum.$name"
    rm -rf out
    cmp -s "sum.$name" sum.first || fail "$name gave other bytes"
}
"$UC_BIN" -q --cache c0 build -j2 || fail "first build"
{ sha256sum <out/ultracompress.json; sha256sum <out/model.safetensors; } >sum.first
rm -rf out
one j1 uc -q --cache c1 build -j1
one j4 uc -q --cache c2 build -j4
one c env UC_CPU=c "$UC_BIN" -q --cache c3 build
one avx2 env UC_CPU=avx2 "$UC_BIN" -q --cache c4 build
one epoch env TZ=Asia/Tokyo LC_ALL=C "$UC_BIN" -q --cache c0 build
