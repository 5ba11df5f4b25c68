#!/bin/sh
# A recipe that is wrong gets one clear message with file and line, exit code 2, and leaves nothing.
. "$(dirname "$0")/lib.sh"
small_project
try() { # NAME 'recipe text' 'what it must say'...
    name=$1
    printf '%s\n' "$2" >bad.lua
    shift 2
    expect 2 uc build bad.lua
    says "error: "
    for text in "$@"; do says "$text"; done
    [ ! -e out ] || fail "$name left a folder"
    expect 2 uc --json plan bad.lua
    python3 -c 'import json; e = json.load(open(".out"))["error"]; assert e["code"] == 2 and e["message"]'
}
try syntax 'project { name = "x"
artifact "a" {}' "where: bad.lua:2"
try key 'project { name = "x", sed = 4 }' "where: bad.lua:1" "'sed'" "did you mean 'seed'"
try word '
local a = drr "model"' "where: bad.lua:2" "did you mean 'dir'"
try loop 'local x = 0
while true do
  x = x + 1
end' "where: bad.lua:" "does not end"
try string 'local s = ("x"):rep(1000000)
local t = {}
for i = 1, 10000 do t[i] = s .. i end' "where: bad.lua:3" "256 MB"
try huge 'local s = ("x"):rep(10 * 1000 * 1000 * 1000)' "where: bad.lua:1"
try io 'local f = io.open("cal.txt")' "unknown word 'io'"
try load 'load("return 1")()' "unknown word 'load'"
try require 'require "os"' "unknown word 'require'"
try load_text 'uc.load_text("return 1", {}, "x")' "where: bad.lua:1" "nil value"
try runtime 'local f = nil
f.x = 1' "where: bad.lua:2" "nil value"
try hub 'local m = hub "a/b"' "not there yet" "where: bad.lua:1"
try track_b 'local t = track.b { keep = 0.5 }' "track.b is not there yet"
try sweep 'sweep "s" { for_each = {} }' "not there yet"
try gate 'artifact "a" { dir "model", track.a {}, calibrate = text "cal.txt", gate = { kld = "<= 1" } }' \
    "gate is not there yet"
try export 'artifact "a" { dir "model", track.a {}, calibrate = text "cal.txt", export = { "gguf" } }' \
    "export is not there yet" "uc export"
try nothing 'project { name = "x" }' "makes no artifact"
try bpw 'artifact "a" { dir "model", track.a { bpw = 40 }, calibrate = text "cal.txt" }' "bpw is 40"
try bpw_type 'artifact "a" { dir "model", track.a { bpw = "4" }, calibrate = text "cal.txt" }' "must be a number"
try method 'artifact "a" { dir "model", track.a { method = "track-a-rwo-overlay" }, calibrate = text "cal.txt" }' \
    "did you mean 'track-a-row-overlay'"
try version 'artifact "a" { dir "model", track.a { version = 7 }, calibrate = text "cal.txt" }' "not 7"
try pattern 'artifact "a" { dir "model", track.a {}, tensor "*.q_prj.*" { keep = true }, calibrate = text "cal.txt" }' \
    "matches no matrix"
try missing 'artifact "a" { dir "model", track.a {}, calibrate = text "nothing.txt" }' "nothing.txt does not exist" "fix:"
try glob 'artifact "a" { dir "model", track.a {}, calibrate = text "*.nothing" }' "no file matches"
try calibrate 'artifact "a" { dir "model", track.a {} }' "no calibration text"
try twice 'for i = 1, 2 do artifact "a" { dir "model", track.a {}, calibrate = text "cal.txt" } end' "two artifacts"
try default 'artifact "a" { dir "model", track.a {}, calibrate = text "cal.txt" } default "b"' "artifact in default"
try tooold 'project { uc = ">= 9.0" }' "asks for uc >= 9.0"
printf '\033Lua' >bad.lua
expect 2 uc build bad.lua
expect 2 uc build nowhere.lua
says "does not exist"
expect 2 uc build --set bqw=3
says "did you mean 'bpw'"
expect 2 uc build --set bpw=much
says "a number is expected"
expect 2 uc build nosuchartifact
says "did you mean 'small'"
echo 'return import "loop.lua"' >loop.lua
echo 'import "loop.lua"' >bad.lua
expect 2 uc build bad.lua
says "imports itself"
