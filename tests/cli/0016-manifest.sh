#!/bin/sh
# The manifest has the fields of its schema, says what the files hold, and names nothing of this machine.
. "$(dirname "$0")/lib.sh"
small_project
SOURCE_DATE_EPOCH=1000000000 expect 0 uc build
python3 - "$UC_SRC/docs/manifest.schema.json" <<'PY'
import hashlib, json, os, re, socket, sys
schema, m = json.load(open(sys.argv[1])), json.load(open("out/ultracompress.json"))
types = {"string": str, "number": (int, float), "integer": int, "object": dict, "array": list}

def check(s, v, where):
    if "type" in s:
        assert isinstance(v, types[s["type"]]), where
    if "pattern" in s:
        assert re.search(s["pattern"], v), where
    for k in s.get("required", ()):
        assert k in v, f"{where}.{k} is missing"
    for k, p in s.get("properties", {}).items():
        if k in v:
            check(p, v[k], f"{where}.{k}")
    if isinstance(s.get("additionalProperties"), dict):
        for k in v:
            check(s["additionalProperties"], v[k], f"{where}.{k}")

check(schema, m, "manifest")
on_disk = {os.path.relpath(os.path.join(d, f), "out") for d, _, fs in os.walk("out") for f in fs}
assert set(m["files"]) == on_disk - {"ultracompress.json"}, on_disk ^ set(m["files"])
for name, f in m["files"].items():
    data = open(os.path.join("out", name), "rb").read()
    assert hashlib.sha256(data).hexdigest() == f["sha256"] and len(data) == f["size_bytes"], name
lines = "\n".join(f"{k}:{v['sha256']}" for k, v in sorted(m["files"].items()))
assert hashlib.sha256(lines.encode()).hexdigest() == m["artifact_fingerprint"]
assert m["created_at"] == "2001-09-09T01:46:40Z", m["created_at"]
weights = os.path.getsize("out/model.safetensors")
assert m["bits"]["weight_bytes"] == weights and abs(m["bits"]["bpw"] - weights * 8 / 918656) < 1e-9
text = open("out/ultracompress.json").read()
for bad in (os.getcwd(), socket.gethostname() + "\"", "/tmp", "/home", "/usr"):
    assert bad not in text, bad
PY
mv out dated
expect 0 uc build
grep -q '"created_at": "1980-01-01T00:00:00Z"' out/ultracompress.json || fail "an undated build"
cmp -s out/model.safetensors dated/model.safetensors || fail "the date changed the weights"
