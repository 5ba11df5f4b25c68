#!/bin/sh
# tokenize prints the ids of a file or of standard input on one line, and turns ids into text again.
. "$(dirname "$0")/lib.sh"
tiny=$UC_SRC/examples/models/tiny
head -c 3000 "$UC_SRC/examples/data/kjv-heldout.txt" >text
expect 0 uc tokenize "$tiny" text
cp .out ids
[ "$(wc -l <ids)" -eq 1 ] || fail "not one line"
uc tokenize "$tiny" <text | cmp -s - ids || fail "standard input gives other ids"
uc tokenize "$tiny/tokenizer.json" text | cmp -s - ids || fail "the file itself gives other ids"
uc tokenize --decode "$tiny" ids | cmp -s - text || fail "decoding does not give the text back"
uc tokenize --json "$tiny" text >json
python3 - <<'PY'
import json
a = json.load(open("json"))
assert a["ids"] == [int(x) for x in open("ids").read().split()] and a["count"] == len(a["ids"])
PY
mkdir -p artifact && cp -r "$tiny" artifact/tokenizer
uc tokenize artifact text | cmp -s - ids || fail "an artifact's tokenizer gives other ids"
: >empty
[ "$(uc tokenize "$tiny" empty)" = "" ] || fail "an empty text has ids"
printf 'ab\351' >latin1
expect 1 uc tokenize "$tiny" latin1
says "latin1: text is not UTF-8 at byte 2"
expect 2 uc tokenize --decode "$tiny" text
says "not a token id"
echo 5000 >high
expect 1 uc tokenize --decode "$tiny" high
says "id 5000"
expect 1 uc tokenize nowhere text
says "nowhere"
mkdir odd && echo '{"model":{"type":"Unigram","vocab":[]}}' >odd/tokenizer.json
expect 3 uc tokenize odd text
says "model of type Unigram is not supported"
