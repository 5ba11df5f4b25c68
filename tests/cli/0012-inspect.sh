#!/bin/sh
# plan, graph, explain, log and info say what is there, for people and as JSON.
. "$(dirname "$0")/lib.sh"
small_project
expect 0 uc plan
says "to run"
expect 0 uc --json plan
python3 -c 'import json; p = json.load(open(".out")); assert p["run"] + p["maybe"] == len(p["actions"]) > 90, p["run"]'
uc graph --json >a.json
uc graph --json >b.json
cmp -s a.json b.json || fail "the same recipe gave two graphs"
python3 -c 'import json; json.load(open("a.json"))'
expect 0 uc graph --dot
says "digraph"
expect 0 uc explain allocate
says allocate
expect 2 uc explain nothing-like-this
expect 0 uc build
expect 0 uc explain
says "everything is cached"
expect 0 uc explain --set bpw=3
says "params.target_bytes"
expect 0 uc explain --key 'quantize*'
expect 0 uc log
says "ran"
expect 0 uc info out
says "perplexity"
expect 0 uc info --json out
python3 -c 'import json; m = json.load(open(".out")); assert m["schema_version"] == "1.1" and m["files"]'
expect 0 uc info model
says "supported"
