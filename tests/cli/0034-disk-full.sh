#!/bin/sh
# A full disk ends the build with exit code 6 and leaves no artifact; with room again it goes on.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root, to mount a small file system"
if [ -z "${UC_MOUNTED:-}" ]; then
    unshare --mount true 2>/dev/null || skip "this machine lets nobody mount a file system"
    rc=0
    UC_MOUNTED=1 unshare --mount sh "$UC_SRC/tests/cli/0034-disk-full.sh" || rc=$?
    exit $rc
fi
small_project
mkdir small
trap 'umount "$T/small" 2>/dev/null; chmod -R u+w "$T"; rm -rf "$T"' EXIT
mount -t tmpfs -o size=6m none small 2>/dev/null || skip "this machine lets nobody mount a file system"
expect 6 uc --cache small/cache build
says "space"
[ ! -e out ] || fail "a folder was left"
mount -o remount,size=400m small
expect 0 uc --cache small/cache build
expect 0 uc verify out
