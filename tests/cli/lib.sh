# Shared by the scripts of this folder: an own folder and cache each, and what they assert with.
# UC_BIN: the program; UC_SRC: the sources. Exit 77 means skipped, with the reason on stdout.
set -eu
T=$(mktemp -d)
trap 'chmod -R u+w "$T" 2>/dev/null || true; rm -rf "$T"' EXIT
UC_CACHE=$T/cache
export UC_CACHE
unset SOURCE_DATE_EPOCH NO_COLOR UC_CPU 2>/dev/null || true
cd "$T"

uc() { "$UC_BIN" "$@"; }

fail() {
    echo "FAILED: $*"
    exit 1
}

skip() {
    echo "SKIPPED: $*"
    exit 77
}

# expect CODE COMMAND...: runs it, output in $T/.out and $T/.err, and checks its exit code
expect() {
    want=$1
    shift
    got=0
    "$@" >"$T/.out" 2>"$T/.err" || got=$?
    [ "$got" -eq "$want" ] || {
        cat "$T/.out" "$T/.err"
        fail "exit code $got instead of $want: $*"
    }
}

# says TEXT: the last command's output or error holds it
says() {
    cat "$T/.out" "$T/.err" | grep -qF -e "$1" || {
        cat "$T/.out" "$T/.err"
        fail "the output does not say: $1"
    }
}

# The tiny model with a small calibration text, in this folder: model/, cal.txt, eval.txt, uc.lua.
small_project() {
    cp -r "$UC_SRC/examples/models/tiny" model
    head -c 24000 "$UC_SRC/examples/data/kjv-train.txt" >cal.txt
    head -c 12000 "$UC_SRC/examples/data/kjv-heldout.txt" >eval.txt
    cat >uc.lua <<'LUA'
project { name = "small", seed = param("seed", 42), license = "apache-2.0" }
artifact "small" {
  dir "model",
  track.a { bpw = param("bpw", 4), mix = param("mix", 0.5) },
  calibrate = mix { seqlen = 128, grad_windows = 4, shard = "8 KB", text "cal.txt" },
  check = metrics { ppl { text "eval.txt", window = 128, limit = 4 }, kld {} },
  output = "out",
}
LUA
}
