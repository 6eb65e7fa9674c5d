# shellcheck shell=sh
# tap.sh - what shell tests share; read with ".".
# A claim is checked by a command:  claim 'says what it does' command word...
# What went wrong is shown: a command may leave words for it in $work/log.
set -u
work=$(mktemp -d) || exit 1
number=0
failures=0
at_end=
# shellcheck disable=SC2317  # called by the trap
leave() {
    # shellcheck disable=SC2086  # a list of numbers
    for process in $at_end; do kill "$process" 2> /dev/null; done
    wait
    rm -rf "$work"
}
trap leave EXIT
export LLMOS_CACHE="$work/cache"

claim() {
    name=$1
    shift
    number=$((number + 1))
    : > "$work/log"
    if "$@"; then
        echo "ok $number - $name"
    else
        failures=$((failures + 1))
        echo "not ok $number - $name"
        sed 's/^/#   /' "$work/log" | cat -v
    fi
}

skip() {
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

finish() {
    echo "1..$number"
    [ "$failures" = 0 ] || exit 1
    exit 0
}

# Runs a command; its output lands in $work/out and $work/err, its exit code in $code.
run() {
    "$@" > "$work/out" 2> "$work/err" < "${input:-/dev/null}"
    code=$?
    { echo "$ $*"; echo "exit code $code"; echo '--- output'; head -c 2000 "$work/out"; echo '--- errors'; head -c 2000 "$work/err"; } > "$work/log"
    return 0
}

# has FILE TEXT: the text stands in the file.
has() { grep -qF -- "$2" "$1" || { echo "$(basename "$1") lacks: $2" >> "$work/log"; return 1; }; }
