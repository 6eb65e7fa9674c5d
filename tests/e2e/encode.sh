#!/bin/sh
# encode.sh - embed, classify and rerank as their users meet them.
# shellcheck disable=SC2317,SC2015,SC2154,SC2034,SC1091  # claim calls the functions; tap.sh has the variables
# shellcheck source=tests/e2e/tap.sh
. "$LLMOS_SOURCE/tests/e2e/tap.sh"
llmos=$LLMOS_BUILD/llmos
tools=$LLMOS_BUILD/tests/e2e
shared=${LLMOS_SHARED:-$LLMOS_SOURCE/../shared}/models
cd "$work" || exit 1

# What a sanitizer needs, the room does not give: such a build does without these layers.
if [ "${LLMOS_SANITIZED:-}" ]; then
    cat > llmos << END
#!/bin/sh
verb=\$1
shift
exec "$LLMOS_BUILD/llmos" "\$verb" --skip-layer mount --skip-layer landlock --skip-layer seccomp \
    --skip-layer mdwe --skip-layer rlimits --skip-layer limits "\$@"
END
    chmod +x llmos
    llmos=$work/llmos
fi

# A folder of programs in which the engine is the rogue one.
mkdir rogue
ln -s "$tools/rogue" rogue/llmos-engine
ln -s "$LLMOS_BUILD/llmos-vce" rogue/llmos-vce
rogue() { LLMOS_LIBEXEC=$work/rogue run "$@"; }
for kind in embed classify tags rank; do "$tools/tiny_bert" $kind $kind.gguf || exit 1; done
"$tools/synth_model" tiny tiny.gguf || exit 1
printf 'hello there\n\nwho are you?\r\nno end' > lines
get() { sed -n "$1p" "$work/out" | "$tools/json_get" "$2"; } # LINE PATH: a value of a line of output

# ---- vectors ----
embeds() {
    input=lines run "$llmos" embed embed.gguf
    [ "$code" = 0 ] && [ ! -s "$work/err" ] && [ "$(wc -l < "$work/out")" = 3 ] || return 1
    [ "$(get 1 index)" = 0 ] && [ "$(get 2 index)" = 2 ] && [ "$(get 3 index)" = 3 ] && [ "$(get 1 tokens)" = 12 ] || return 1
    get 1 embedding.15 | grep -q '[0-9]' && ! get 1 embedding.16 > value
}
claim 'embed prints a vector for each line, and counts empty ones' embeds
length_one() { # the squares of a vector's numbers
    sed 's/.*\[//; s/\].*//' "$work/out" | awk -F, '{ s = 0; for (i = 1; i <= NF; i++) s += $i * $i; if ((s - 1) ^ 2 > 1e-10) bad = 1 } END { exit bad }'
}
normalizes() {
    input=lines run "$llmos" embed embed.gguf; length_one || return 1
    input=lines run "$llmos" embed embed.gguf --no-normalize
    [ "$code" = 0 ] && ! length_one
}
claim 'vectors have length 1, unless they shall not' normalizes
same_bytes() {
    input=lines run "$llmos" embed embed.gguf --threads 1; cp "$work/out" first
    input=lines run "$llmos" embed embed.gguf --threads 3; cmp "$work/out" first >> "$work/log" || return 1
    tail -n 1 lines > last
    input=last run "$llmos" embed embed.gguf
    [ "$(get 1 embedding.3)" = "$(sed -n 3p first | "$tools/json_get" embedding.3)" ]
}
claim 'a vector does not depend on threads nor on the lines before it' same_bytes
generates() { input=lines run "$llmos" embed tiny.gguf; [ "$code" = 0 ] && [ "$(wc -l < "$work/out")" = 3 ] && length_one; }
claim 'embed takes models that generate as well' generates
any_bytes() {
    printf 'a\0b\n\377\376\n\303\n' > bytes
    input=bytes run "$llmos" embed embed.gguf
    [ "$code" = 0 ] && [ "$(wc -l < "$work/out")" = 3 ] || return 1
    input=bytes run "$llmos" embed tiny.gguf
    [ "$(wc -l < "$work/out")" = 3 ]
}
claim 'zero bytes and broken UTF-8 are no reason to stop' any_bytes
nothing() { run "$llmos" embed embed.gguf; [ "$code" = 0 ] && [ ! -s "$work/out" ] && [ ! -s "$work/err" ]; }
claim 'no lines are no vectors' nothing

# ---- lengths ----
too_long() {
    { echo short; echo 'aaaaaaaaaa bbbbbbbbbb cccccccccc dddddddddd'; echo short; } > long
    input=long run "$llmos" embed embed.gguf
    [ "$code" = 1 ] && [ "$(wc -l < "$work/out")" = 1 ] && has "$work/err" 'line 2: the text has 42 tokens, the model takes 32; try --truncate'
}
claim 'a text that is too long is named with both lengths, what came before stands' too_long
truncates() {
    input=long run "$llmos" embed embed.gguf --truncate
    [ "$code" = 0 ] && [ "$(get 1 tokens_cut)" = 0 ] && [ "$(get 2 tokens)" = 32 ] && [ "$(get 2 tokens_cut)" = 10 ] && [ "$(get 3 tokens)" = 7 ]
}
claim 'with --truncate it is cut, and that is said' truncates
shorter() { input=long run "$llmos" embed embed.gguf --context 8 --truncate; [ "$(get 2 tokens)" = 8 ] && [ "$(get 2 tokens_cut)" = 34 ]; }
claim '--context makes the longest text shorter' shorter
no_positions() { run "$llmos" embed embed.gguf --context 100; [ "$code" = 1 ] && has "$work/err" '100 tokens' && has "$work/err" 32; }
claim 'it cannot be longer than the model has learned' no_positions
huge() {
    { echo first; head -c 1048577 /dev/zero | tr '\0' a; echo; echo last; } > huge
    input=huge run "$llmos" embed embed.gguf --truncate
    [ "$code" = 1 ] && [ "$(wc -l < "$work/out")" = 1 ] && has "$work/err" 'line 2 of the input has more than 1048576 bytes' || return 1
    { echo first; head -c 1048576 /dev/zero | tr '\0' a; echo; echo last; } > huge
    input=huge run "$llmos" embed embed.gguf --truncate
    [ "$code" = 0 ] && [ "$(wc -l < "$work/out")" = 3 ]
}
claim 'a line may have 1 MiB and no byte more' huge
endless() { LLMOS_BUILD='' run timeout 20 sh -c "tr '\\0' a < /dev/zero | '$llmos' embed embed.gguf"; [ "$code" = 1 ] && has "$work/err" 'line 1 of the input has more'; }
claim 'a line without end is refused while it comes' endless
many() {
    i=0; while [ $i -lt 2000 ]; do echo "line $i of many"; i=$((i + 1)); done | tr 0-9 a-j > many
    input=many run "$llmos" embed embed.gguf
    [ "$code" = 0 ] && [ "$(wc -l < "$work/out")" = 2000 ] && [ "$(get 1777 index)" = 1776 ] || return 1
    sed -n 1777p many > single; sed -n 1777p "$work/out" | cut -d, -f3- > wanted
    input=single run "$llmos" embed embed.gguf
    cut -d, -f3- "$work/out" | cmp - wanted >> "$work/log"
}
claim 'thousands of lines keep their order' many
comes_slowly() { # each answer is there before the next line is
    mkfifo slow-in
    "$llmos" embed embed.gguf < slow-in > slow-out 2> "$work/log" &
    exec 9> slow-in
    for n in 1 2 3; do
        echo "line" >&9
        for _ in $(seq 100); do [ "$(wc -l < slow-out)" -ge $n ] && break; sleep 0.05; done
        [ "$(wc -l < slow-out)" = $n ] || return 1
    done
    exec 9>&-
    wait $!
}
claim 'who writes a line and waits gets its answer' comes_slowly

# ---- labels ----
classifies() {
    input=lines run "$llmos" classify classify.gguf
    [ "$code" = 0 ] && [ ! -s "$work/err" ] && [ "$(wc -l < "$work/out")" = 3 ] && [ "$(get 2 index)" = 2 ] || return 1
    label=$(get 1 label)
    sed -n 1p "$work/out" | sed 's/.*"scores":{//; s/}}$//; s/"[^:]*"://g' | awk -F, '{ exit !(NF == 3 && ($1 + $2 + $3 - 1) ^ 2 < 1e-12) }' || return 1
    [ -n "$label" ] && has "$work/out" '"say \"no\"":' && has "$work/out" '"hélas":'
}
claim 'classify prints a label and shares of 1' classifies
scores() {
    input=lines run "$llmos" classify classify.gguf --scores raw; get 1 scores.calm > raw
    input=lines run "$llmos" classify classify.gguf --scores sigmoid; get 1 scores.calm > sigmoid
    paste raw sigmoid | awk '{ exit !((1 / (1 + exp(-$1)) - $2) ^ 2 < 1e-10) }'
}
claim 'classify --scores says how scores are made' scores
pairs() {
    printf 'one\ttwo\n\tempty\n' > pairs
    input=pairs run "$llmos" classify classify.gguf --pair
    [ "$code" = 0 ] && [ "$(wc -l < "$work/out")" = 2 ] || return 1
    { cat pairs; echo single; } > bad
    input=bad run "$llmos" classify classify.gguf --pair
    [ "$code" = 1 ] && [ "$(wc -l < "$work/out")" = 2 ] && has "$work/err" 'line 3 has no tab: it is no pair of texts'
}
claim 'classify --pair takes two texts with a tab between them' pairs
tags() {
    input=lines run "$llmos" classify tags.gguf
    [ "$code" = 0 ] && [ "$(wc -l < "$work/out")" = 3 ] && [ "$(get 1 tokens.9.token)" = e ] && ! get 1 tokens.10 > value &&
        get 1 tokens.0.label > value && get 1 tokens.0.score | awk '{ exit !($1 > 1 / 3 && $1 <= 1) }'
}
claim 'classify labels each token where the model does, but not its marks' tags
one_label() { input=lines run "$llmos" classify rank.gguf; [ "$code" = 0 ] && get 1 scores.LABEL_0 | awk '{ exit !($1 > 0 && $1 < 1) }'; }
claim 'the score of one label lies between 0 and 1' one_label
unlabelled() {
    for model in embed tiny; do
        input=lines run "$llmos" classify $model.gguf
        [ "$code" = 1 ] && [ ! -s "$work/out" ] && has "$work/err" 'has no classifier' && has "$work/err" 'llmos embed' || return 1
    done
}
claim 'what has no labels is told so, and what to do' unlabelled

# ---- order ----
ranks() {
    input=lines run "$llmos" rerank rank.gguf 'where am i'
    [ "$code" = 0 ] && [ "$(wc -l < "$work/out")" = 3 ] || return 1
    for n in 1 2 3; do get $n score; echo; done > order
    sort -rg order | cmp -s - order || return 1
    [ "$(get 1 text)" = "$(sed -n "$(($(get 1 index) + 1))p" lines | tr -d '\r')" ] && cp "$work/out" all || return 1
    input=lines run "$llmos" rerank rank.gguf 'where am i' --top 2
    head -n 2 all | cmp -s - "$work/out"
}
claim 'rerank sorts lines, the best first' ranks
ties() { yes same | head -n 40 > ties; input=ties run "$llmos" rerank rank.gguf q; sed 's/{"index":\([0-9]*\).*/\1/' "$work/out" > order; sort -n order | cmp -s - order; }
claim 'equals stay in the order of the input' ties
all_or_nothing() { input=long run "$llmos" rerank rank.gguf q; [ "$code" = 1 ] && [ ! -s "$work/out" ] && has "$work/err" 'line 2: the text has 44 tokens'; }
claim 'rerank prints nothing unless all is scored' all_or_nothing
long_query() { input=lines run "$llmos" rerank rank.gguf "$(head -c 100 huge)" --truncate; [ "$code" = 1 ] && has "$work/err" 'nothing is left of the second'; }
claim 'a question is never cut' long_query
no_ranker() {
    for model in embed classify tiny; do
        input=lines run "$llmos" rerank $model.gguf q
        [ "$code" = 1 ] && has "$work/err" 'is no reranker' && has "$work/err" 'llmos ' || return 1
    done
}
claim 'what cannot rank says what it can' no_ranker

# ---- encoders elsewhere ----
elsewhere() {
    for verb in run chat bench; do
        run "$llmos" $verb embed.gguf
        [ "$code" = 1 ] && has "$work/err" 'it is an encoder (bert)' && has "$work/err" 'llmos embed' || return 1
    done
}
claim 'run, chat and bench send an encoder to embed' elsewhere

# ---- an engine that cannot be trusted ----
: > good
printf 'die-after-vectors 2\n' > dies
printf 'vector-swapped\n' > swapped
printf 'ready-twins\n' > twins
printf 'ready-tokens\n' > words
printf 'slow-vector 100\n' > slow
honest() { input=lines rogue "$llmos" classify good; [ "$code" = 0 ] && [ "$(get 1 label)" = no ]; }
claim 'classify takes what an engine says' honest
words() {
    input=lines rogue "$llmos" classify words
    [ "$code" = 0 ] && [ "$(get 1 tokens.0.token)" = 'one ' ] && [ "$(get 1 tokens.0.label)" = no ] && [ "$(get 1 tokens.1.label)" = '"yes"' ]
}
claim 'classify prints a label for each token where a model has such' words
dies() { input=many rogue "$llmos" embed dies; [ "$code" = 1 ] && [ "$(wc -l < "$work/out")" = 2 ] && has "$work/err" 'exited with 3'; }
claim 'an engine that dies is told, and what it said stands' dies
swapped() { input=lines rogue "$llmos" embed swapped; [ "$code" = 1 ] && [ ! -s "$work/out" ] && has "$work/err" 'answers in another order'; }
claim 'an engine that answers in another order is not believed' swapped
twins() { input=lines rogue "$llmos" classify twins; [ "$code" = 1 ] && [ ! -s "$work/out" ] && has "$work/err" 'labels 0 and 2 have the same name'; }
claim 'labels of one name are refused' twins
killed() {
    LLMOS_LIBEXEC=$work/rogue "$llmos" embed slow < many > "$work/out" 2> "$work/err" &
    host=$!
    for _ in $(seq 100); do [ -s "$work/out" ] && break; sleep 0.05; done
    for child in $(ps -o pid= --ppid $host); do kill -9 "$child"; done
    wait $host; code=$?
    cat "$work/err" > "$work/log"
    [ "$code" = 1 ] && has "$work/err" 'killed by SIGKILL'
}
if command -v ps > /dev/null; then claim 'an engine that is killed is told' killed; else skip 'an engine that is killed' 'there is no ps'; fi
halted() {
    LLMOS_LIBEXEC=$work/rogue "$llmos" embed slow < many > "$work/out" 2> "$work/err" &
    host=$!
    for _ in $(seq 100); do [ -s "$work/out" ] && break; sleep 0.05; done
    kill -TERM $host
    wait $host; code=$?
    [ "$code" = 143 ] && [ ! -s "$work/err" ]
}
claim 'SIGTERM ends embed with 143' halted
empty_for_ever() {
    mkfifo nothing
    yes '' > nothing &
    yes=$!
    "$llmos" embed embed.gguf < nothing > "$work/out" 2> "$work/err" &
    host=$!
    sleep 0.5
    kill -TERM $host
    wait $host; code=$?
    kill $yes 2> /dev/null
    [ "$code" = 143 ] && [ ! -s "$work/out" ]
}
claim 'SIGTERM is heard among empty lines without end' empty_for_ever
closed() {
    { LLMOS_LIBEXEC=$work/rogue timeout 20 "$llmos" embed slow < many 2> "$work/err"; echo $? > code; } | head -c 8 > "$work/out"
    cat "$work/err" code > "$work/log"
    [ "$(cat code)" = 141 ] && [ ! -s "$work/err" ]
}
claim 'when nobody reads on, embed ends without a word' closed
full() { "$llmos" embed embed.gguf < lines > /dev/full 2> "$work/err"; code=$?; [ "$code" = 1 ] && has "$work/err" 'cannot write the output: No space left'; }
claim 'an output that is full is told' full
bar() {
    printf 'expect embedding\nexpect 50%%\n' > script
    printf 'a\nb\nc\nd\ne\nf\ng\nh\n' > eight
    printf 'slow-vector 200\n' > slow
    LLMOS_LIBEXEC=$work/rogue run "$tools/pty" script sh -c "'$llmos' embed slow < eight > bar-out"
    [ "$code" = 0 ] && [ "$(wc -l < bar-out)" = 8 ]
}
claim 'a bar shows how much of a file is done' bar

# ---- a real model ----
tickets=$shared/bert-tickets
judged() {
    sed 's/^{"text": "\(.*\)", "label": .*/\1/' "$tickets/validation.jsonl" > texts
    sed 's/.*"label": "\(.*\)"}$/\1/' "$tickets/validation.jsonl" > labels
    input=texts run "$llmos" classify "$1"
    [ "$code" = 0 ] || return 1
    sed 's/.*"label":"\([^"]*\)".*/\1/' "$work/out" | paste - labels | awk '$1 == $2 { right++ } END { print right + 0, NR }' > score
    cat score >> "$work/log"
    [ "$(cat score)" = '11 18' ]
}
if [ -f "$tickets/model.safetensors" ]; then
    claim 'a classifier of tickets has 11 of 18 right, as its makers say' judged "$tickets"
else
    skip 'a classifier of tickets' 'the model is not here'
fi
finish
