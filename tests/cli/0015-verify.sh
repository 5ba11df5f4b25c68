#!/bin/sh
# verify finds any changed byte, and a missing or renamed file; exit code 1.
. "$(dirname "$0")/lib.sh"
small_project
expect 0 uc build
flip() { # FILE OFFSET
    python3 - "$1" "$2" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    b = f.read(1)
    f.seek(int(sys.argv[2]))
    f.write(bytes([b[0] ^ 1]))
PY
}
for at in 20 5000 200000 400000; do
    cp -r out bad
    chmod -R u+w bad
    flip bad/model.safetensors $at
    expect 1 uc verify bad
    says "model.safetensors"
    rm -rf bad
done
cp -r out bad
chmod -R u+w bad
flip bad/model.safetensors 300000
expect 1 uc verify --skip-hash bad
says "FAIL"
rm -rf bad
cp -r out bad
chmod -R u+w bad
rm bad/tokenizer/tokenizer.json
expect 1 uc verify bad
says "tokenizer/tokenizer.json"
expect 1 uc verify model
expect 2 uc verify nowhere
