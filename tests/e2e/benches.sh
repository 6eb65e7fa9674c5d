#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# benches.sh - the programs of bench/ that drive others: they measure, and are loud where they cannot.
# shellcheck disable=SC2317,SC2015,SC2154,SC1091  # claim calls the functions; tap.sh has the variables
# shellcheck source=tests/e2e/tap.sh
. "$LLMOS_SOURCE/tests/e2e/tap.sh"
clients=$LLMOS_BUILD/bench/clients
first_token=$LLMOS_BUILD/bench/first_token
memory=$LLMOS_BUILD/bench/memory
speculation=$LLMOS_BUILD/bench/speculation
get=$LLMOS_BUILD/tests/e2e/json_get
cd "$work" || exit 1
"$LLMOS_BUILD/tests/e2e/synth_model" tiny tiny.gguf || exit 1

serve() { # NAME: a daemon that serves it; $port is where
    cat > "$1.yaml" << END
listen: {port: 0}
socket: $work/$1.sock
models: [{name: $1, path: tiny.gguf, context: 256}]
${LLMOS_TEST_ISOLATION:-}
END
    LLMOS_LIBEXEC="$LLMOS_BUILD" "$LLMOS_BUILD/llmosd" --config "$1.yaml" 2> "$1.log" &
    at_end="$at_end $!"
    for _ in $(seq 300); do
        grep -q 'serving models' "$1.log" && break
        sleep 0.1
    done
    port=$(sed -n 's/.*listening .* port=\([0-9]*\) .*/\1/p' "$1.log")
}
serve one
one=http://127.0.0.1:$port
serve two
two=http://127.0.0.1:$port

measures() {
    run "$clients" "$one" --compare "$two" -c 3 -p 40 -g 12 -r 2 --json
    [ "$code" = 0 ] || return 1
    for server in 0 1; do
        # 3 clients, 2 rounds, 12 tokens; the round before them is not counted
        [ "$($get "servers.$server.tokens" < out)" = 72 ] &&
            [ "$($get "servers.$server.cached_prompt_tokens" < out)" = 0 ] &&
            [ "$($get "servers.$server.counted_by" < out)" = server ] || return 1
        for figure in tokens_per_second first_token_ms_median first_token_ms_p95; do
            $get "servers.$server.$figure" < out | awk '{exit !($1 > 0)}' || return 1
        done
    done
    [ "$($get servers.0.model < out)" = one ] && [ "$($get servers.1.model < out)" = two ]
}
claim 'clients measures two servers in turn and counts what they count' measures

shares() {
    run "$clients" "$one" -c 2 -p 100 -g 4 -r 1 --shared-prefix 90 --json
    [ "$code" = 0 ] && [ "$($get servers.0.cached_prompt_tokens < out)" -ge 180 ]
}
claim 'prompts with a shared prefix are found in the cache, as the server says' shares

shows() {
    run "$clients" "$one" -c 1 -p 8 -g 4 -r 1
    [ "$code" = 0 ] && has out 'tokens/s' && has out "$one" && has out '4 (server)'
}
claim 'clients prints a table for people' shows

fails() { # TEXT WORD...
    text=$1; shift
    run "$@"
    [ "$code" = 1 ] && has err "$text" && [ ! -s out ]
}
claim 'an answer shorter than asked for is an error' \
    fails 'an answer has 106 tokens, 200 were asked for (it ended with '"'length')" "$clients" "$one" -p 150 -g 200 -c 2
claim 'a refusal is shown in the words of the server' fails 'it refuses with status 404' "$clients" "$one" --model nobody
claim 'a server that is not there is named' fails "server 'http://127.0.0.1:1'" "$clients" http://127.0.0.1:1
claim 'an address of another kind is refused' fails "is no address like http" "$clients" ftp://x
refuses() {
    run "$clients" "$one" -p 10 --shared-prefix 10
    [ "$code" = 2 ] && has err 'cannot share'
}
claim 'prompts that would be all alike are refused' refuses

# ---- from start to first byte ----
waits() {
    run "$first_token" -r 2 --json 'sleep 0.1; echo x' 'echo yy; sleep 0.1'
    [ "$code" = 0 ] && $get commands.0.first_ms_min < out | awk '{exit !($1 >= 100)}' &&
        { for f in min median max; do $get "commands.0.first_ms_$f" < out; echo; done; } | sort -nc &&
        $get commands.1.end_ms_median < out | awk '{exit !($1 >= 100)}' && [ "$($get commands.1.first < out)" = yy ]
}
claim 'first_token tells the first byte from the end' waits
claim 'a program that fails is told with its complaint' \
    fails "command 'echo x; echo why >&2; exit 3': it ends with exit code 3: why" "$first_token" 'echo x; echo why >&2; exit 3'
claim 'a program that prints nothing has no first token' fails 'it prints nothing' "$first_token" true

# ---- a text that was not its own idea ----
# The first guesses are made unseen; how many follow depends on what a step was found to cost.
guesses() {
    printf 'one two three four five six seven eight nine ten\n' > before.txt
    run "$speculation" tiny.gguf before.txt before.txt -r 1 --json
    right=$($get accepted_tokens < out)
    [ "$code" = 0 ] && [ "$right" -gt 0 ] && [ "$right" -le "$($get drafted_tokens < out)" ] &&
        [ "$right" -lt "$($get answer_tokens < out)" ]
}
claim 'a text that quotes is guessed' guesses
claim 'speculation says what is wrong with a text' fails "nothing.txt" "$speculation" tiny.gguf nothing.txt before.txt

# ---- many engines ----
counts() {
    run "$memory" tiny.gguf -n 3 --context 64 --json
    [ "$code" = 0 ] && [ "$($get engines < out)" = 3 ] &&
        awk -v pss="$($get pss_sum_bytes < out)" -v own="$($get private_bytes_median < out)" -v kv="$($get kv_bytes < out)" \
            'BEGIN {exit !(pss >= 3 * own && own > kv && kv > 0)}'
}
if [ "${LLMOS_SANITIZED:-}" ]; then
    skip 'memory adds up what engines take' 'a sanitizer needs what the room does not give'
else
    claim 'memory adds up what engines take' counts
fi
claim 'memory says what is wrong with a model' fails 'No such file' "$memory" nothing.gguf
finish
