#!/bin/sh
# library.sh - what the public library promises.   usage: library.sh SHARED_LIBRARY SYNTH_MODEL CC...
set -u
library=$1 synth=$2; shift 2
include=$LLMOS_SOURCE/include
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; sed 's/^/# /' "$work/log"; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
# Header files are not the whole program: each must include what it needs.
headers=$(ls "$include/llmos")
for header in $headers; do
    printf '#include <llmos/%s>\n#include <llmos/%s>\n' "$header" "$header" > "$work/alone.c"
    if "$@" -std=c99 -pedantic -Wall -Wextra -Werror -I"$include" -fsyntax-only "$work/alone.c" > "$work/log" 2>&1
    then ok "$header compiles alone and twice as C99"; else not_ok "$header compiles alone and twice as C99"; fi
    cp "$work/alone.c" "$work/alone.cc"
    if ! command -v g++ > /dev/null; then
        skip "$header compiles alone as C++11" 'there is no g++'
    elif g++ -std=c++11 -pedantic -Wall -Wextra -Werror -I"$include" -fsyntax-only "$work/alone.cc" > "$work/log" 2>&1
    then ok "$header compiles alone as C++11"; else not_ok "$header compiles alone as C++11"; fi
    if grep -n '#include "' "$include/llmos/$header" | grep -v '"llmos/' > "$work/log"
    then not_ok "$header includes only libc and llmos/"; else ok "$header includes only libc and llmos/"; fi
done

nm -D --defined-only "$library" | awk '$2 ~ /[TDBRVW]/ {print $3}' | grep -v '^llmos_' > "$work/log"
if [ -s "$work/log" ]; then not_ok 'only llmos_ symbols leave the library'; else ok 'only llmos_ symbols leave the library'; fi
# Every function that a header declares is there.
nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | sort -u > "$work/defined"
grep -h -A3 LLMOS_API "$include"/llmos/*.h | tr '\n' ' ' | grep -o 'llmos_[a-z0-9_]*(' | tr -d '(' | sort -u > "$work/declared"
comm -23 "$work/declared" "$work/defined" > "$work/log"
if [ -s "$work/log" ] || [ "$(wc -l < "$work/declared")" -lt 20 ]
then not_ok 'every declared function is in the library'; else ok 'every declared function is in the library'; fi

# The example in llmos.h, exactly as it stands there.
sed -n 's/^ \*     //p; s/^ \*$//p' "$include/llmos/llmos.h" > "$work/story.c"
if [ "${LLMOS_SANITIZED:-}" ]; then
    skip 'the example in llmos.h compiles and tells a story' 'a sanitized library needs a sanitized program'
elif "$@" -std=c99 -pedantic -Wall -Wextra -Werror -I"$include" "$work/story.c" -o "$work/story" "$library" > "$work/log" 2>&1 &&
    "$synth" tiny "$work/m.gguf" > "$work/log" 2>&1 &&
    LD_LIBRARY_PATH=$(dirname "$library") "$work/story" "$work/m.gguf" > "$work/out" 2> "$work/log" && [ -s "$work/out" ]
then ok 'the example in llmos.h compiles and tells a story'; else not_ok 'the example in llmos.h compiles and tells a story'; fi
echo "1..$n"
