#!/bin/sh
# Every command explains itself with examples, and the man page and completions come of the same table.
. "$(dirname "$0")/lib.sh"
expect 0 uc
says "usage: uc COMMAND"
for c in $(uc help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    expect 0 uc "$c" --help
    says "usage: uc $c"
    says "examples:"
    grep -qE -- '--json' .out || fail "$c: global options are missing"
    expect 0 uc help "$c"
    uc help --man >man.1
    grep -qF "uc $c" man.1 || fail "$c is not in the man page"
    for shell in bash zsh fish; do
        uc completion $shell | grep -qw -- "$c" || fail "$c is not in the completion for $shell"
    done
done
if command -v bash >/dev/null; then
    uc completion bash >c.sh
    bash -n c.sh || fail "completion for bash has a syntax error"
fi
