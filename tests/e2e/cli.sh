#!/bin/sh
# cli.sh - llmos as its users meet it: every verb, good and bad input, at a terminal and in a pipe.
# shellcheck disable=SC2317,SC2015,SC2154,SC2034,SC2094,SC1091  # claim calls the functions; tap.sh has the variables
# shellcheck source=tests/e2e/tap.sh
. "$LLMOS_SOURCE/tests/e2e/tap.sh"
llmos=$LLMOS_BUILD/llmos
tools=$LLMOS_BUILD/tests/e2e
shared=${LLMOS_SHARED:-$LLMOS_SOURCE/../shared}/models
export XDG_STATE_HOME="$work/state" LLMOS_SOCKET="$work/socket"
verbs='run chat inspect tokenize template ps stop bench pack quantize imatrix perplexity convert embed classify rerank'
cd "$work" || exit 1

# What a sanitizer needs, the room does not give: such a build does without these layers.
if [ "${LLMOS_SANITIZED:-}" ]; then
    cat > llmos << END
#!/bin/sh
case \${1:-} in
run | chat | inspect | tokenize | template | bench | pack | quantize | imatrix | perplexity | convert | embed | classify | rerank)
    verb=\$1
    shift
    exec "$LLMOS_BUILD/llmos" "\$verb" --skip-layer mount --skip-layer landlock --skip-layer seccomp \
        --skip-layer mdwe --skip-layer rlimits --skip-layer limits "\$@" ;;
*) exec "$LLMOS_BUILD/llmos" "\$@" ;;
esac
END
    chmod +x llmos
    llmos=$work/llmos
fi

# A folder of programs in which the engine is the rogue one.
mkdir rogue
ln -s "$tools/rogue" rogue/llmos-engine
ln -s "$LLMOS_BUILD/llmos-vce" rogue/llmos-vce
rogue() { LLMOS_LIBEXEC=$work/rogue run "$@"; }
: > good
printf 'escapes\n' > escapes
printf 'slow-tokens 100\n' > slow
printf 'slow-tokens 100\nignore-cancel\n' > stubborn
printf 'die-after-tokens 2\n' > dies
"$tools/synth_model" tiny tiny.gguf || exit 1
"$tools/synth_model" tiny chat.gguf chatml || exit 1

# ---- words ----
refused() { # TEXT WORD...: exit code 2, the sentence, and nothing else
    text=$1; shift
    run "$llmos" "$@"
    [ "$code" = 2 ] && has "$work/err" "$text" && [ ! -s "$work/out" ] && [ "$(wc -l < "$work/err")" = 1 ]
}
claim 'an unknown verb is answered with the nearest one' refused "unknown verb 'inspct'; did you mean 'inspect'?" inspct
claim 'a verb that resembles nothing is told where the verbs are' refused "unknown verb 'xyzzy'; llmos help lists them" xyzzy
claim 'no verb at all is told the same' refused 'a verb is missing; llmos help lists them'
claim 'an unknown option is answered with the nearest one' refused "did you mean '--temperature'?" run m --temprature 1 x
claim 'a value out of range is told the range' refused 'a number from 0 to 1, not' run m --top-p 1.5 x
claim 'NaN is no number' refused '--temperature must be a number' run m --temperature nan x
claim 'a missing operand is named' refused 'a model file is missing: llmos chat MODEL' chat
claim 'a model is not called by nothing' refused 'must not be empty' stop ''
claim 'a raw prompt has no system message' refused 'exclude each other' run m --raw --system x y

helps() {
    for verb in $verbs; do
        run "$llmos" "$verb" --help
        [ "$code" = 0 ] && has "$work/out" "usage: llmos $verb" && [ ! -s "$work/err" ] || return 1
        cp "$work/out" "$work/first"
        run "$llmos" help "$verb"
        cmp -s "$work/first" "$work/out" || return 1
        awk 'length($0) > 80 && !/See also/ {exit 1}' "$work/out" || { echo "a line of $verb is long" >> "$work/log"; return 1; }
    done
}
claim 'every verb explains itself, the same in both ways, in 80 columns' helps
serve_help() { run "$llmos" serve --help; [ "$code" = 0 ] && has "$work/out" 'usage: llmosd'; }
claim 'serve --help is the help of llmosd' serve_help
version() { run "$llmos" --version; [ "$code" = 0 ] && grep -qx 'llmos [0-9]*\.[0-9]*\.[0-9]*' "$work/out"; }
claim 'the version is one line' version
man_pages() {
    for verb in llmos $verbs serve; do
        run "$llmos" help --man "$verb"
        [ "$code" = 0 ] || return 1
        man --warnings -E UTF-8 -l -Tutf8 -Z "$work/out" > /dev/null 2> "$work/log"
        [ ! -s "$work/log" ] || return 1
    done
}
if command -v man > /dev/null; then claim 'man has no complaint about any page' man_pages; else skip 'man has no complaint' 'there is no man'; fi
completes() {
    "$llmos" completion bash > completion
    # shellcheck disable=SC2016
    bash -c '. ./completion
        try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _llmos_complete; echo "${COMPREPLY[*]}"; }
        try llmos in; try llmos run --tem; try llmos run --chat-format ze' > "$work/out" 2> "$work/log"
    printf 'inspect\n--temperature\nzephyr\n' | cmp -s - "$work/out"
}
if command -v bash > /dev/null; then claim 'bash completes verbs, options and values' completes; else skip 'bash completes' 'there is no bash'; fi

# ---- the form of an answer ----
form() { run "$llmos" run tiny.gguf hello --context 256 --max-tokens 200 --seed 3 "$@"; }
keeps_form() {
    form --choice yes --choice no
    [ "$code" = 0 ] && grep -qxE 'yes|no' "$work/out" || return 1
    form --regex '[a-c]{2}-\d{3}'
    [ "$code" = 0 ] && grep -qxE '[a-c]{2}-[0-9]{3}' "$work/out" || return 1
    printf 'root ::= "(" root ")" | [xy]\n' > nested.gbnf
    form --grammar nested.gbnf --temperature 0
    [ "$code" = 0 ] && grep -qE '^\(*[xy]\)*$' "$work/out" || return 1
    form --json-schema '{"properties": {"n": {"type": "integer", "minimum": 5, "maximum": 7}}, "required": ["n"]}'
    [ "$code" = 0 ] && "$tools/json_get" n < "$work/out" | grep -qx '[567]'
}
claim 'an answer keeps to a choice, an expression, a grammar, a schema' keeps_form
same_form() { # guesses change nothing
    form --regex '(abcabc){9}[a-f]{20}'
    [ "$code" = 0 ] && cp "$work/out" "$work/first" || return 1
    form --regex '(abcabc){9}[a-f]{20}' --draft-lookup on
    [ "$code" = 0 ] && cmp -s "$work/first" "$work/out"
}
claim 'the form and the seed decide, not the guesses' same_form
bad_form() {
    form --json-schema '{"items": {"uniqueItems": true}}'
    [ "$code" = 1 ] && has "$work/err" "keyword 'uniqueItems' at '#/items' is supported where the items are values of an enum" || return 1
    form --regex '(a'
    [ "$code" = 1 ] && has "$work/err" "no closing ')'" || return 1
    form --choice a --regex b
    [ "$code" = 1 ] && has "$work/err" 'exclude each other'
}
claim 'a form that cannot be kept is refused' bad_form

# ---- files that are no models ----
mkdir folder
mkfifo pipe
ln -s loop loop
head -c 20000 tiny.gguf > cut.gguf
: > empty.gguf
head -c 4096 /dev/urandom > noise.gguf
broken() { # FILE TEXT: every verb says it, with exit code 1
    for verb in run inspect tokenize bench chat; do
        words=
        [ "$verb" = run ] && words=hello
        # shellcheck disable=SC2086
        run timeout 10 "$llmos" "$verb" "$1" $words
        [ "$code" = 1 ] && has "$work/err" "$2" && [ ! -s "$work/out" ] || return 1
    done
}
claim 'an empty folder is no model' broken folder "folder 'folder': no folder of Hugging Face: it has neither"
claim 'a pipe is no model, and nobody waits for its other end' broken pipe "cannot open 'pipe': it is a pipe"
claim 'a device is no model' broken /dev/random 'it is a character device'
claim 'links that go round are no model' broken loop "cannot open 'loop': Too many levels of symbolic links"
claim 'a file that is not there is no model' broken missing.gguf "cannot open 'missing.gguf': No such file or directory"
claim 'an empty file is no model' broken empty.gguf "model 'empty.gguf': "
claim 'noise is no model' broken noise.gguf "model 'noise.gguf': "
cut_off() { run "$llmos" run cut.gguf hello; [ "$code" = 1 ] && has "$work/err" "model 'cut.gguf': " && has "$work/err" 20000; }
claim 'a file that was cut is refused with its length' cut_off

# ---- an engine that cannot be trusted ----
answers() { rogue "$llmos" run good hello --max-tokens 5; [ "$code" = 0 ] && [ "$(cat "$work/out")" = 'one two three four five ' ] && [ ! -s "$work/err" ]; }
claim 'run prints the answer and a newline, and is quiet otherwise' answers
escapes_pass() { rogue "$llmos" run escapes hello --max-tokens 1; printf '\033[31mred\033]0;title\007\302\233\r\n' | cmp -s - "$work/out"; }
claim 'into a pipe goes what the model says, byte for byte' escapes_pass
pty() { # SCRIPT-TEXT COMMAND...: at a terminal
    printf '%s\n' "$1" > script; shift
    LLMOS_LIBEXEC=$work/rogue run "$tools/pty" script "$@"
}
escapes_stop() {
    pty 'expect red' "$llmos" run escapes hello --max-tokens 1
    [ "$code" = 0 ] && has "$work/out" red && ! LC_ALL=C grep -q "$(printf '[\033\007\233]')" "$work/out"
}
claim 'at a terminal no control sequence comes through' escapes_stop
interrupted() { pty 'expect two
send \c' "$llmos" run slow hello --max-tokens 100; [ "$code" = 130 ] && has "$work/out" 'one two'; }
claim 'Ctrl-C ends run with 130' interrupted
stubborn() { pty 'expect two
send \c' timeout 15 "$llmos" run stubborn hello --max-tokens 100; [ "$code" = 130 ]; }
claim 'Ctrl-C ends run though the engine does not listen' stubborn
dies() { rogue "$llmos" run dies hello; [ "$code" = 1 ] && has "$work/err" "the engine of 'dies' has ended: exited with 3" && [ "$(cat "$work/out")" = 'one two ' ]; }
claim 'an engine that dies in mid-answer is told, and what it said stands' dies
closed() {
    { LLMOS_LIBEXEC=$work/rogue timeout 20 "$llmos" run slow hello --max-tokens 400 2> "$work/err"; echo $? > code; } | head -c 8 > "$work/out"
    cat "$work/err" code > "$work/log"
    [ "$(cat code)" = 141 ] && [ ! -s "$work/err" ]
}
claim 'when nobody reads on, run ends without a word' closed
converses() {
    pty 'expect > 
ready
send héllo\n
expect one two
send \c
expect > 
ready
send again\n
expect three
send \c
expect > 
ready
send /rset\n
expect did you mean /reset
send /retry\n
expect one
send \c
expect > 
ready
send /save saved.json\n
expect saved 4 messages
send /save saved.json\n
expect File exists
send two lines\
expect lines\
send \n
expect ... 
send \c
expect Ctrl-D leaves
expect > 
ready
send \d' "$llmos" chat slow --max-tokens 50
    [ "$code" = 0 ] && [ "$("$tools/json_get" messages.0.content < saved.json)" = héllo ] &&
        [ "$("$tools/json_get" messages.3.role < saved.json)" = assistant ]
}
claim 'chat: Ctrl-C stops the answer only, commands work, Ctrl-D leaves' converses
private() { stat -c %a "$XDG_STATE_HOME/llmos/history" saved.json > "$work/log" && printf '600\n600\n' | cmp -s - "$work/log"; }
claim 'history and saved conversations are for their owner only' private
piped() { printf 'first\nsecond\n/save piped.json\n' > lines; input=lines rogue "$llmos" chat good --no-history; [ "$code" = 0 ] && [ "$("$tools/json_get" messages.2.content < piped.json)" = second ]; }
claim 'chat reads lines from a pipe' piped
thinks() {
    echo say-thought > thinker
    rogue "$llmos" run thinker 'what is it' --max-tokens 5 && [ "$(cat "$work/out")" = 4. ] && has "$work/err" '2 and 2' || return 1
    rogue "$llmos" run thinker 'what is it' --max-tokens 5 --thoughts hide && [ "$(cat "$work/out")" = 4. ] && [ ! -s "$work/err" ] || return 1
    rogue "$llmos" run thinker 'what is it' --max-tokens 5 --json && [ "$("$tools/json_get" thought < "$work/out")" = '2 and 2' ] &&
        [ "$("$tools/json_get" text < "$work/out")" = 4. ]
}
claim 'a thought is no part of the answer' thinks

# ---- real weights of a model that makes no sense ----
greedy() { run "$llmos" run tiny.gguf --raw --temperature 0 --max-tokens 12 --threads "$1" 'Once upon a time'; [ "$code" = 0 ] && [ ! -s "$work/err" ]; }
same_threads() { greedy 1 && cp "$work/out" one && greedy 2 && cmp -s one "$work/out" && greedy 4 && cmp -s one "$work/out" && [ "$(wc -c < one)" -gt 12 ]; }
claim 'one, two and four threads give the same bytes' same_threads
seeded() { run "$llmos" run tiny.gguf --raw --temperature 1.5 --seed "$1" --max-tokens 20 'Once'; [ "$code" = 0 ]; }
same_seed() { seeded 7 && cp "$work/out" seven && seeded 7 && cmp -s seven "$work/out" && seeded 8 && ! cmp -s seven "$work/out"; }
claim 'the same seed gives the same answer, another one another' same_seed
from_stdin() {
    greedy 1 && cp "$work/out" argument
    echo 'Once upon a time' > prompt
    input=prompt run "$llmos" run tiny.gguf --raw --temperature 0 --max-tokens 12 -
    cmp -s argument "$work/out"
}
claim 'a prompt may come from standard input' from_stdin
run_json() {
    run "$llmos" run tiny.gguf --json --raw --max-tokens 3 --seed 5 hello
    for key in text prompt_tokens decode_seconds context_tokens; do "$tools/json_get" "$key" < "$work/out" > value || return 1; done
    [ "$("$tools/json_get" completion_tokens < "$work/out")" = 3 ] && [ "$("$tools/json_get" finish_reason < "$work/out")" = length ] &&
        [ "$("$tools/json_get" seed < "$work/out")" = 5 ]
}
claim 'run --json is one object with the answer and its counts' run_json
small_cache() {
    run "$llmos" run tiny.gguf --raw --temperature 0 --max-tokens 12 --kv-type q8_0 'Once upon a time'
    [ "$code" = 0 ] && [ ! -s "$work/err" ] && [ "$(wc -c < "$work/out")" -gt 12 ] && cp "$work/out" once &&
        run "$llmos" run tiny.gguf --raw --temperature 0 --max-tokens 12 --kv-type q8_0 --threads 3 'Once upon a time' &&
        cmp -s once "$work/out"
}
claim 'a cache of q8_0 answers, the same with any number of threads' small_cache
claim 'another type of cache is refused with those that there are' refused '--kv-type must be one of f16|q8_0' run tiny.gguf --kv-type q3 hello
too_long() {
    head -c 60000 /dev/zero | tr '\0' x > long
    input=long run "$llmos" run tiny.gguf --raw --context 64 -
    [ "$code" = 1 ] && grep -q '[0-9]\{3,\}.*64' "$work/err" && [ ! -s "$work/out" ]
}
claim 'a prompt longer than the context is refused with both lengths' too_long
context_full() { run "$llmos" run tiny.gguf --raw --context 32 --seed 1 hello; [ "$code" = 0 ] && has "$work/err" 'the context of 32 tokens is full'; }
claim 'an answer that fills the context says so' context_full
chat_full() {
    printf '%s\n' 'tell me a long story about everything' 'and go on, please, with all the details that you know of' > lines
    input=lines run "$llmos" chat chat.gguf --context 48 --max-tokens 30 --seed 1 --no-history
    [ "$code" = 0 ] && has "$work/err" /reset
}
claim 'chat says when the context is full, and what to do' chat_full
tokens() {
    printf 'Once upon a time' > text
    input=text run "$llmos" tokenize tiny.gguf
    [ "$code" = 0 ] && grep -qx '[0-9 ]*' "$work/out" && cp "$work/out" ids || return 1
    input=text run "$llmos" tokenize tiny.gguf --json
    [ "$("$tools/json_get" tokens < "$work/out" | tr -d '[]' | tr , ' ')" = "$(cat ids)" ] || return 1
    input=text run "$llmos" tokenize tiny.gguf --no-bos
    [ "$(cut -d' ' -f2- ids)" = "$(cat "$work/out")" ]
}
claim 'tokenize prints ids, as JSON the same, without BOS the rest' tokens
templates() {
    printf '[{"role": "user", "content": "Hi <|im_end|>"}]' > said
    input=said run "$llmos" template chat.gguf
    [ "$code" = 0 ] || return 1
    printf '<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n' | cmp - "$work/out" || return 1
    ! has "$work/err" "built-in format" || return 1
    input=said run "$llmos" template tiny.gguf
    [ "$code" = 0 ] && has "$work/err" "no chat template, so this is the built-in format 'plain'" || return 1
    printf '{%% for m in messages %%}\n  {{- m.role|upper }}: {{ m.content }}\n{%% endfor %%}\n{{ tools|tojson }}' > own.jinja
    printf '{"messages": %s, "tools": [{"a": 1.5}]}' "$(cat said)" > all
    input=all run "$llmos" template own.jinja
    printf 'USER: Hi <|im_end|>\n[{"a": 1.5}]' | cmp - "$work/out"
}
claim 'template prints what the template of a model or of a file makes of a conversation, or names a built-in format' templates
templates_refuse() {
    printf 'x\n{{ messages[0].content.nothing() }}' > own.jinja
    printf '[{"content": "x"}]' > said
    input=said run "$llmos" template own.jinja
    [ "$code" = 1 ] && has "$work/err" "'own.jinja': line 2 of the chat template: 'nothing' is undefined" || return 1
    printf '{"messages": [}' > said
    input=said run "$llmos" template chat.gguf
    [ "$code" = 1 ] && has "$work/err" 'byte 14 of the JSON: no value' || return 1
    printf '{}' > said
    input=said run "$llmos" template chat.gguf
    [ "$code" = 1 ] && has "$work/err" 'a conversation is a list of messages'
}
claim 'template says in a sentence what is wrong with template or conversation' templates_refuse
special() {
    printf '</s>' > text
    input=text run "$llmos" tokenize tiny.gguf --no-bos; [ "$(wc -w < "$work/out")" -gt 1 ] || return 1
    input=text run "$llmos" tokenize tiny.gguf --no-bos --special; [ "$(wc -w < "$work/out")" = 1 ]
}
claim 'a special token in the text is text unless --special' special
inspects() {
    run "$llmos" inspect tiny.gguf --json
    for key in hyperparameters.layers memory.weight_bytes tensors.0.name; do "$tools/json_get" "$key" < "$work/out" > value || return 1; done
    run "$llmos" inspect tiny.gguf
    [ "$code" = 0 ] && has "$work/out" HYPERPARAMETERS && has "$work/out" TENSORS && has "$work/out" token_embd.weight
}
claim 'inspect shows hyperparameters, memory and tensors, also as JSON' inspects
above_zero() { # KEY...: of the JSON that was printed
    for key in "$@"; do
        "$tools/json_get" "$key" < "$work/out" > value && awk '!($1 > 0) {exit 1}' value || { echo "$key: $(cat value)" >> "$work/log"; return 1; }
    done
}
measures() {
    run "$llmos" bench tiny.gguf --prompt 16 --generate 8 --repeat 2 --json
    above_zero prefill_tokens_per_second decode_tokens_per_second time_to_first_token_ms load_ms memory_bytes \
        decode_bytes_per_token prefill_f32_operations_per_token limit_read_gb_per_second decode_share_of_read || return 1
    run "$llmos" bench tiny.gguf --prompt 16 --generate 8 --repeat 1
    [ "$code" = 0 ] && grep -q 'decode  *[0-9.]*  tokens/s, [0-9]* % of what reading the weights allows' "$work/out"
}
claim 'bench measures all that it promises' measures
bench() { run "$llmos" bench --shape tiny --prompt 16 --generate 8 --repeat 2 "$@"; }
shape() {
    bench --type q4_0 --json --depth 40
    above_zero prefill_tokens_per_second decode_tokens_per_second || return 1
    [ "$("$tools/json_get" file < "$work/out")" = tiny ] && [ "$("$tools/json_get" file_type < "$work/out")" = q4_0 ] &&
        [ "$("$tools/json_get" depth < "$work/out")" = 40 ]
}
claim 'bench --shape makes a model of that shape and type, and measures behind a depth' shape
kept() {
    bench --keep kept.gguf && [ "$code" = 0 ] && run "$llmos" inspect kept.gguf --json && [ "$code" = 0 ] && cp kept.gguf again.gguf &&
        bench --keep kept.gguf && cmp kept.gguf again.gguf
}
claim 'a model that is kept is a model, the same each time' kept
no_temporary() { TMPDIR=$work/folder bench && [ "$code" = 0 ] && [ -z "$(ls folder)" ]; }
claim 'a model that is not kept leaves no file' no_temporary
lists_shapes() {
    run "$llmos" bench --shape 70b; [ "$code" = 1 ] && has "$work/err" "there is no shape '70b'; there are tiny, 135m, 0.5b, 1b" || return 1
    run "$llmos" bench --shape tiny --type q3; [ "$code" = 1 ] && has "$work/err" "there is no type 'q3'; there are q4_k_m, f32"
}
claim 'an unknown shape or type is answered with those there are' lists_shapes
claim 'bench needs a model or a shape' refused 'a model file is missing' bench
claim 'bench takes one of both' refused 'exclude each other' bench tiny.gguf --shape tiny
claim 'a picture needs a sweep' refused 'say which with --sweep' bench tiny.gguf --svg x.svg
with_grammar() {
    bench --json --json-schema '{"properties":{"a":{"type":"integer"}},"required":["a"]}' && [ "$code" = 0 ] &&
        above_zero grammar_bytes
}
claim 'bench makes texts of a schema, one after the other' with_grammar
claim 'a peer cannot be held to a grammar' refused 'exclude it' bench tiny.gguf --json-schema '{}' --peer /bin/true
too_deep() { run "$llmos" bench --shape tiny --prompt 16 --context 64 --depth 100; [ "$code" = 1 ] && has "$work/err" 'need a context of'; }
claim 'a depth beyond the context is refused with the numbers' too_deep
together() { bench --sequences 3 --json; above_zero prefill_tokens_per_second decode_tokens_per_second && [ "$("$tools/json_get" sequences < "$work/out")" = 3 ]; }
claim 'several sequences are measured together' together
csv() {
    bench --csv lines.csv && bench --csv lines.csv && [ "$code" = 0 ] && [ "$(wc -l < lines.csv)" = 3 ] &&
        head -1 lines.csv | grep -q '^date,version,cpu,threads,model,type,prompt,generate,depth,sequences,who,prefill_tokens_per_second,decode_tokens_per_second,' &&
        [ "$(grep -c '"tiny","q8_0",16,8,0,1,"llmos",[0-9.e+]*,[0-9.e+]*,' lines.csv)" = 2 ] || return 1
    echo 'a,b' > other.csv
    bench --csv other.csv; [ "$code" = 1 ] && has "$work/err" "'other.csv' has other columns" && [ "$(cat other.csv)" = 'a,b' ]
}
claim 'bench --csv appends lines under one head, and spares other files' csv
sweeps() {
    run "$llmos" bench --shape tiny --prompt 8 --generate 4 --repeat 1 --sweep "$1" --svg "$1.svg" --csv "$1.csv"
    [ "$code" = 0 ] && has "$work/out" "$2" && [ "$(grep -c llmos "$1.csv")" -ge "$3" ] && grep -q '^<svg ' "$1.svg" && grep -q '^</svg>$' "$1.svg"
}
claim 'bench --sweep batch measures 1 to 16 sequences and draws them' sweeps batch SEQUENCES 5
claim 'bench --sweep threads measures every number of threads' sweeps threads THREADS 1
deep() { run "$llmos" bench --shape tiny --prompt 8 --generate 4 --repeat 1 --sweep context --json; [ "$code" = 0 ] && [ "$("$tools/json_get" 0.depth < "$work/out")" = 512 ] && has "$work/err" 'the sweep ends before 2048'; }
claim 'bench --sweep context goes as far as the model was trained' deep
well_formed() { for f in batch threads; do "$@" $f.svg > "$work/log" 2>&1 || return 1; done; }
xml_python() { python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$1"; }
if command -v xmllint > /dev/null; then claim 'the pictures are well-formed XML' well_formed xmllint --noout
elif command -v python3 > /dev/null; then claim 'the pictures are well-formed XML' well_formed xml_python
else skip 'the pictures are well-formed XML' 'there is no xmllint and no python3'; fi

# ---- peers: programs that talk like llama-bench ----
mkdir -p theirs/build/bin two
cat > theirs/build/bin/llama-bench << 'END'
#!/bin/sh
# as llama.cpp prints it; what it was asked goes to a file
echo "$@" >> asked
[ "$1" != --help ] || { echo '  -d, --n-depth <n>'; exit 0; }
cat << JSON
[
  {
    "build_commit": "abc1234", "n_threads": $8, "n_prompt": $4, "n_gen": 0, "n_depth": 0,
    "avg_ns": 1000000, "avg_ts": 100.000000, "samples_ns": [ 1 ], "samples_ts": [ 100 ]
  },
  {
    "build_commit": "abc1234", "n_threads": $8, "n_prompt": 0, "n_gen": $6, "avg_ts": 25.0
  }
]
JSON
END
cat > two/llama-bench << 'END'
#!/bin/sh
# as ik_llama.cpp prints it, with words of its libraries before
[ "$1" != --help ] || { echo '  -gp <pp,tg>'; exit 0; }
echo "======= using [AVX512]"
case "$*" in *-gp*) echo '[{"build_commit": "d", "n_prompt": 40, "n_gen": 8, "avg_ts": 5.5, "test": "tg8@pp40"}]'; exit ;; esac
printf '[\n{"build_commit": "def", "cuda": false, "n_prompt": 16, "n_gen": 0, "avg_ts": 200.5, "test": "pp16"},\n'
printf '{"build_commit": "def", "n_prompt": 0, "n_gen": 8, "avg_ts": 50.25, "test": "tg8"}\n]\n'
END
printf '#!/bin/sh\necho first >&2\necho "error: failed to load model" >&2\nexit 3\n' > fails
printf '#!/bin/sh\nsleep 100\n' > hangs
printf '#!/bin/sh\nyes\n' > floods
printf '#!/bin/sh\nkill -9 $$\n' > killed
printf '#!/bin/sh\necho "[]"\n' > silent
chmod +x theirs/build/bin/llama-bench two/llama-bench fails hangs floods killed silent
compares() {
    bench --peer theirs/build/bin/llama-bench --peer other=two/llama-bench --peer-args ' -fa 1  -x' --threads 1 --json --csv peers.csv
    [ "$code" = 0 ] && [ "$("$tools/json_get" peers.0.name < "$work/out")" = theirs ] && [ "$("$tools/json_get" peers.1.name < "$work/out")" = other ] &&
        [ "$("$tools/json_get" peers.0.version < "$work/out")" = abc1234 ] && [ "$("$tools/json_get" peers.1.decode_tokens_per_second < "$work/out")" = 50.25 ] &&
        above_zero peers.0.prefill_ratio peers.0.decode_ratio peers.1.prefill_ratio || return 1
    [ "$(wc -l < asked)" = 2 ] && grep -qx -- '-m /proc/[0-9]*/fd/[0-9]* -p 16 -n 8 -t 1 -r 1 -o json -fa 1 -x' asked || return 1
    [ "$(wc -l < peers.csv)" = 4 ] && grep -q '"other",200.5,50.25,' peers.csv || return 1
    bench --peer theirs/build/bin/llama-bench; [ "$code" = 0 ] && grep -q 'TOKENS/S  *llmos  *theirs  *llmos/it' "$work/out"
}
claim 'bench runs in turn with peers of either flavour and compares' compares
deep_peers() {
    : > asked
    bench --depth 40 --peer theirs/build/bin/llama-bench --peer two/llama-bench --json
    [ "$code" = 0 ] && grep -q -- '-d 40' asked && [ "$("$tools/json_get" peers.1.decode_tokens_per_second < "$work/out")" = 5.5 ] &&
        ! "$tools/json_get" peers.1.prefill_ratio < "$work/out" > value
}
claim 'a peer is asked for the same depth in its own words' deep_peers
bad_peer() { bench --peer "$1" --peer-timeout 1; [ "$code" = 1 ] && has "$work/err" "$2" && [ ! -s "$work/out" ]; }
claim 'a peer that fails is told with its last words' bad_peer x=./fails "peer 'x': it exited with 3: error: failed to load model"
claim 'a peer that hangs is ended' bad_peer ./hangs 'it did not end within 1 s and was ended'
claim 'a peer that is killed is told so' bad_peer ./killed 'it was killed by signal 9'
claim 'a peer that never stops talking is ended' bad_peer ./floods 'its output'
claim 'a peer that says nothing is told so' bad_peer ./silent "its JSON has no speed ('avg_ts') for n_prompt 16"
claim 'a peer that is not there is told so' bad_peer ./nobody "cannot run './nobody': No such file"
claim 'a folder is no peer' bad_peer folder "cannot run 'folder': it is no program"
left_out() { bench --sequences 2 --peer two/llama-bench; [ "$code" = 0 ] && has "$work/err" "peer 'two' cannot measure this and is left out"; }
claim 'a peer that cannot measure something is left out aloud' left_out
isolation() { run "$llmos" run tiny.gguf --raw --isolation --max-tokens 1 hello; [ "$code" = 0 ] && has "$work/err" seccomp && ! grep -q seccomp "$work/out"; }
claim 'run --isolation names the layers, on standard error' isolation
requires() { run "$llmos" run tiny.gguf --require-layer user --skip-layer user hello; [ "$code" = 1 ] && has "$work/err" user && [ ! -s "$work/out" ]; }
claim 'a layer that is required and does not hold is a refusal' requires

# ---- smaller numbers ----
claim 'quantizing wants to know into what' refused "there is no type 'Q9'; there are Q4_K_M" quantize tiny.gguf q.gguf Q9
quantizes() {
    run "$llmos" quantize tiny.gguf q.gguf q4_0 --json
    [ "$code" = 0 ] && [ "$("$tools/json_get" type < "$work/out")" = Q4_0 ] && [ -s q.gguf ] || return 1
    run "$llmos" run q.gguf --raw --temperature 0 --max-tokens 4 'Once upon'
    [ "$code" = 0 ]
}
claim 'quantize makes a model that runs' quantizes
twice() { run "$llmos" quantize q.gguf r.gguf Q5_0; [ "$code" = 1 ] && has "$work/err" 'is q4_0 already' && [ ! -e r.gguf ]; }
claim 'what has lost something is not quantized again unasked' twice
itself() { cp tiny.gguf self.gguf; run "$llmos" quantize self.gguf ./self.gguf Q4_0; [ "$code" = 1 ] && has "$work/err" 'are the same file' && cmp -s tiny.gguf self.gguf; }
claim 'quantize does not replace its source' itself
leaves_nothing() { run "$llmos" quantize empty.gguf none.gguf Q4_0; [ "$code" = 1 ] && [ ! -e none.gguf ] && [ -z "$(find . -maxdepth 1 -name '*part*')" ]; }
claim 'a model that cannot be read leaves no file behind' leaves_nothing
i=0; while [ $i -lt 200 ]; do echo "Once upon a time there was a little girl, and she said hello to the big dog."; i=$((i + 1)); done > tale.txt
weighs() {
    run "$llmos" imatrix tiny.gguf tale.txt -o tiny.imatrix --context 64 --json
    [ "$code" = 0 ] && [ "$("$tools/json_get" context < "$work/out")" = 64 ] && [ -s tiny.imatrix ] || return 1
    run "$llmos" quantize tiny.gguf qi.gguf Q4_0 --imatrix tiny.imatrix
    [ "$code" = 0 ] && has "$work/out" 'bits a weight' && ! cmp -s q.gguf qi.gguf
}
claim 'imatrix says what is important, and quantize heeds it' weighs
predicts() {
    run "$llmos" perplexity q.gguf tale.txt --context 64 --kl-base tiny.gguf --json
    [ "$code" = 0 ] && [ "$("$tools/json_get" chunks < "$work/out")" -gt 10 ] || return 1
    "$tools/json_get" kl_divergence < "$work/out" | grep -q '^[0-9]' && "$tools/json_get" perplexity < "$work/out" | grep -q '^[0-9]'
}
claim 'perplexity measures a model, and what it has lost' predicts
too_short() { run "$llmos" perplexity tiny.gguf good; [ "$code" = 1 ] && has "$work/err" 'one chunk needs'; }
claim 'a text that is too short for one chunk is told' too_short

# ---- a model in several files ----
"$tools/split_model" tiny.gguf tiny 3 && "$tools/split_model" tiny.gguf other 2 || exit 1
part=tiny-00002-of-00003.gguf # any of them stands for all
alike() { # VERB WORD... with MODEL for the model: the same from the parts as from the whole
    echo "$@" > words
    # shellcheck disable=SC2046  # words are words here
    run "$llmos" $(sed 's/MODEL/tiny.gguf/' words); [ "$code" = 0 ] && [ -s "$work/out" ] || return 1
    cp "$work/out" of-whole
    # shellcheck disable=SC2046
    run "$llmos" $(sed "s/MODEL/$part/" words); [ "$code" = 0 ] && cmp of-whole "$work/out" >> "$work/log"
}
claim 'run says from parts what it says from the whole' alike run MODEL --raw --temperature 0 --max-tokens 20 Once
input=tale.txt
claim 'tokenize reads parts' alike tokenize MODEL
input=
claim 'perplexity reads parts' alike perplexity MODEL tale.txt --context 64 --json
claim 'a base model may be in parts' alike perplexity MODEL tale.txt --context 64 --kl-base other-00001-of-00002.gguf --json
drafts() {
    run "$llmos" run tiny.gguf --raw --temperature 0 --max-tokens 20 Once; cp "$work/out" of-whole
    run "$llmos" run "$part" --draft other-00002-of-00002.gguf --raw --temperature 0 --max-tokens 20 Once
    [ "$code" = 0 ] && cmp of-whole "$work/out" >> "$work/log"
}
claim 'model and draft model may both be in parts' drafts
joins() {
    run "$llmos" quantize tiny.gguf q-whole.gguf Q8_0 && run "$llmos" quantize "$part" q-parts.gguf Q8_0
    [ "$code" = 0 ] && cmp q-whole.gguf q-parts.gguf >> "$work/log"
}
claim 'quantize makes one file of the parts, the same as of the whole' joins
spares() {
    cp tiny-00003-of-00003.gguf before.gguf
    run "$llmos" quantize "$part" tiny-00003-of-00003.gguf Q8_0
    [ "$code" = 1 ] && has "$work/err" 'are the same file' && cmp -s before.gguf tiny-00003-of-00003.gguf
}
claim 'quantize replaces no part of its source' spares
weighs_parts() { run "$llmos" imatrix "$part" tale.txt -o parts.imatrix --context 64; [ "$code" = 0 ] && [ -s parts.imatrix ]; }
claim 'imatrix reads parts' weighs_parts
tells_parts() { run "$llmos" inspect "$part"; [ "$code" = 0 ] && has "$work/out" PARTS && run "$llmos" inspect --json "$part" && [ "$("$tools/json_get" parts.2.part < "$work/out")" = 3 ] && [ "$("$tools/json_get" runnable < "$work/out")" = true ]; }
claim 'inspect tells of the parts' tells_parts
measures_parts() { run "$llmos" bench "$part" --prompt 8 --generate 4 --repeat 1 --json; [ "$code" = 0 ]; }
claim 'bench measures parts' measures_parts
lacks() {
    mkdir -p lacking; cp tiny-00001-of-00003.gguf tiny-00003-of-00003.gguf lacking
    run "$llmos" run lacking/tiny-00001-of-00003.gguf hello
    [ "$code" = 1 ] && has "$work/err" "part 2 of 3 of the model is missing: 'lacking/tiny-00002-of-00003.gguf' is not there"
}
claim 'a part that is missing is named' lacks
mixes() {
    cp tiny-00003-of-00003.gguf lacking/tiny-00002-of-00003.gguf
    run "$llmos" run lacking/tiny-00001-of-00003.gguf hello
    [ "$code" = 1 ] && has "$work/err" 'part 2 of 3: by its keys it is part 3 of 3'
}
claim 'a part of another place is refused' mixes
renamed() { cp tiny-00002-of-00003.gguf two.gguf; run "$llmos" run two.gguf hello; [ "$code" = 1 ] && has "$work/err" 'the file is part 2 of 3 of a model' && has "$work/err" 'NAME-00002-of-00003.gguf'; }
claim 'a part under another name is told what it should be called' renamed

# ---- packed weights ----
claim 'packing wants a model or a wish' refused 'a model file is missing; or --list, or --clean' pack
claim 'packing has one wish at a time' refused 'MODEL, --list and --clean exclude each other' pack tiny.gguf --list
says() { # NAME WORD...: the answer of packable.gguf in the file NAME
    name=$1; shift
    run "$llmos" run packable.gguf --raw --temperature 0 --max-tokens 20 "$@" 'Once upon a time'
    cp "$work/out" "$name"
    [ "$code" = 0 ] && [ -s "$name" ]
}
entries() { find "$LLMOS_CACHE/packed" -name '*.pack' 2> /dev/null; }
same() { cmp "$1" "$2" >> "$work/log"; }
packs_nothing() { says plain --pack off && [ ! -s "$work/err" ] && [ ! -d "$LLMOS_CACHE" ]; }
"$tools/synth_model" packable packable.gguf || exit 1
useless() { run "$llmos" pack tiny.gguf; [ "$code" = 0 ] && has "$work/err" "this processor reads 'tiny.gguf' as it is: nothing was made" && [ -z "$(entries)" ]; }
claim 'a model of floats is not packed, and that is said' useless
run "$llmos" pack packable.gguf
if [ "$code" = 0 ] && [ -s "$work/err" ]; then
    skip 'packed weights' 'this processor reads none'
elif [ "${LLMOS_SANITIZED:-}" ]; then
    skip 'packed weights' 'a sanitizer takes too long'
else
    packs() { [ "$code" = 0 ] && [ ! -s "$work/out" ] && [ "$(entries | wc -l)" = 1 ]; }
    claim 'pack makes packed weights of any model, quietly' packs
    lists() {
        run "$llmos" pack --list && has "$work/out" packable.gguf && has "$work/out" 'LAST USED' || return 1
        run "$llmos" pack --list --json
        [ "$("$tools/json_get" packed.0.sha256 < "$work/out")" = "$(sha256sum packable.gguf | cut -d ' ' -f 1)" ] &&
            [ "$("$tools/json_get" packed.0.bytes < "$work/out")" = "$("$tools/json_get" bytes < "$work/out")" ]
    }
    claim 'pack --list names the models, also as JSON' lists
    repeats() {
        run "$llmos" pack packable.gguf empty.gguf --json
        [ "$code" = 1 ] && [ "$("$tools/json_get" models.1.result < "$work/out")" = failed ] || return 1
        has "$work/err" "model 'empty.gguf'" && run "$llmos" pack packable.gguf --json &&
            [ "$("$tools/json_get" models.0.result < "$work/out")" = present ]
    }
    claim 'pack says what is there already, and what is no model' repeats
    cleans() { run "$llmos" pack --clean; [ "$code" = 0 ] && [ -z "$(entries)" ] && [ ! -s "$work/out" ]; }
    claim 'pack --clean removes everything' cleans
    rm -r "$LLMOS_CACHE"
    claim 'run --pack off makes nothing' packs_nothing
    makes() { says first && same plain first && [ "$(entries | wc -l)" = 1 ] && [ ! -s "$work/err" ]; }
    claim 'the first run of a large model makes packed weights, the answer is the same' makes
    uses() {
        before=$(ls -i "$LLMOS_CACHE"/packed/*.pack)
        says second && same plain second && [ "$before" = "$(ls -i "$LLMOS_CACHE"/packed/*.pack)" ] || return 1
        run "$llmos" bench packable.gguf --prompt 8 --generate 4 --repeat 1 --json
        [ "$("$tools/json_get" packed < "$work/out")" = true ] || return 1
        run "$llmos" bench packable.gguf --prompt 8 --generate 4 --repeat 1 --json --pack off
        [ "$("$tools/json_get" packed < "$work/out")" = false ]
    }
    claim 'the second run uses them' uses
    repairs() {
        damaged=$(ls "$LLMOS_CACHE"/packed/*.pack)
        printf x | dd of="$damaged" bs=1 seek=30000 conv=notrunc 2> /dev/null
        says third && same plain third && has "$work/err" "packed weights of 'packable' were damaged" || return 1
        says fourth && same plain fourth && [ ! -s "$work/err" ]
    }
    claim 'damaged ones are noticed, told and made again' repairs
    does_without() {
        LLMOS_CACHE=/proc/llmos says fifth && same plain fifth && [ "$(wc -l < "$work/err")" = 1 ] &&
            has "$work/err" "'packable' runs without packed weights: cache of packed weights: cannot make the folder '/proc/llmos'"
    }
    claim 'a cache that cannot be had is one line, and the model runs' does_without
    distrusts() {
        chmod 777 "$LLMOS_CACHE/packed"
        says sixth && same plain sixth && has "$work/err" 'others may write to the folder' || return 1
        chmod 700 "$LLMOS_CACHE/packed"
    }
    claim 'a folder that others may write is not used' distrusts
    moved() {
        cp packable.gguf moved.gguf
        run "$llmos" pack moved.gguf --json
        [ "$("$tools/json_get" models.0.result < "$work/out")" = present ] && [ "$(entries | wc -l)" = 1 ]
    }
    claim 'a copy of a model shares its packed weights' moved
    packs_parts() {
        "$tools/split_model" packable.gguf cut 4 && run "$llmos" pack cut-00003-of-00004.gguf --json || return 1
        [ "$("$tools/json_get" models.0.result < "$work/out")" = made ] && [ "$(entries | wc -l)" = 2 ] || return 1
        run "$llmos" run cut-00001-of-00004.gguf --raw --temperature 0 --max-tokens 20 'Once upon a time'
        [ "$code" = 0 ] && same plain "$work/out" && [ "$(entries | wc -l)" = 2 ] || return 1
        run "$llmos" bench cut-00002-of-00004.gguf --prompt 8 --generate 4 --repeat 1 --json
        [ "$("$tools/json_get" packed < "$work/out")" = true ] && run "$llmos" pack --list && has "$work/out" cut-00003-of-00004.gguf
    }
    claim 'a model in parts has packed weights, found by all of its parts' packs_parts
    changes_part() { # the last part alone differs
        printf '\1' | dd of=cut-00004-of-00004.gguf bs=1 seek=200000 conv=notrunc 2> /dev/null
        run "$llmos" pack cut-00001-of-00004.gguf --json
        [ "$("$tools/json_get" models.0.result < "$work/out")" = made ] && [ "$(entries | wc -l)" = 3 ]
    }
    claim 'a change in any part makes it another model' changes_part
fi

# ---- real models ----
expected() { # MODEL EXPECTED THREADS
    while IFS= read -r line; do
        prompt=$(printf '%s' "$line" | "$tools/json_get" prompt)
        printf '%s' "$line" | "$tools/json_get" text > wanted
        echo >> wanted
        run "$llmos" run "$1" --raw --temperature 0 --max-tokens "$(printf '%s' "$line" | "$tools/json_get" max_tokens)" --threads "$3" "$prompt"
        [ "$code" = 0 ] && cmp "$work/out" wanted >> "$work/log" || return 1
    done < "$2"
}
for model in stories260K/stories260K stories260K/stories260K-F16 babyllama/babyllama105-F32; do
    for threads in 1 2 4; do
        name="$model continues as expected with $threads threads"
        if [ -f "$shared/$model.gguf" ]; then claim "$name" expected "$shared/$model.gguf" "$shared/$model.expected.jsonl" "$threads"
        else skip "$name" 'the model is not here'; fi
    done
done

raised() {
    run "$llmos" run tiny.gguf --raw --temperature 0 --max-tokens "$(($(sed -n 's/.*"context_trained": *\([0-9]*\).*/\1/p' trained) + 20))" hello
    [ "$code" = 0 ] && has "$work/err" 'the model was trained with' && ! grep -q 'was cut' "$work/err"
}
"$llmos" inspect tiny.gguf --json > trained
claim 'who asks for more tokens than the model was trained with gets them, aloud' raised

# ---- a folder of Hugging Face ----
hf=$LLMOS_SOURCE/tests/data/hf-llama
export LLMOS_CACHE="$work/cache"
converts() {
    run "$llmos" convert "$hf" hf.gguf; [ "$code" = 0 ] && [ ! -s "$work/out" ] || return 1
    run "$llmos" run hf.gguf 'the and than' --temperature 0 --max-tokens 12 --seed 1; [ "$code" = 0 ] || return 1
    cp "$work/out" from-file
    run "$llmos" run "$hf" 'the and than' --temperature 0 --max-tokens 12 --seed 1
    [ "$code" = 0 ] && cmp -s from-file "$work/out" && [ "$(find cache/converted -name '*.gguf' | wc -l)" = 1 ]
}
claim 'a folder runs as the file that convert makes of it' converts
kept() {
    ls -i cache/converted/*.gguf > first
    run "$llmos" inspect "$hf"; [ "$code" = 0 ] && has "$work/out" llama.block_count || return 1
    ls -i cache/converted/*.gguf > second; cmp -s first second
}
claim 'what was converted is found again' kept
lists_converted() {
    run "$llmos" pack --list; [ "$code" = 0 ] && has "$work/out" "$hf" && has "$work/out" converted || return 1
    run "$llmos" pack --list --json
    [ "$("$tools/json_get" converted.0.model < "$work/out")" = "$(realpath "$hf")" ] &&
        [ "$("$tools/json_get" converted.0.bytes < "$work/out")" = "$(cat cache/converted/*.gguf | wc -c)" ]
}
claim 'pack --list names the folders that were converted' lists_converted
drafts_folder() {
    run "$llmos" run "$hf" --draft "$hf" 'the and than' --temperature 0 --max-tokens 12 --seed 1
    [ "$code" = 0 ] && cmp from-file "$work/out" >> "$work/log" && ls -i cache/converted/*.gguf > second && cmp -s first second
}
claim 'a draft model may be a folder' drafts_folder
torn() {
    file=$(ls cache/converted/*.gguf); head -c 20000 "$file" > torn; cat torn > "$file"
    run "$llmos" run "$hf" 'the and than' --temperature 0 --max-tokens 12 --seed 1
    [ "$code" = 0 ] && cmp -s from-file "$work/out"
}
claim 'a damaged one is made again' torn
smaller() { run "$llmos" convert --type f16 "$hf" half.gguf; [ "$code" = 0 ] && [ "$(wc -c < half.gguf)" -lt "$(wc -c < hf.gguf)" ]; }
claim 'convert makes smaller types' smaller
pickled() {
    mkdir -p pickle; cp "$hf/config.json" pickle; : > pickle/pytorch_model.bin
    run "$llmos" convert pickle x.gguf; [ "$code" = 1 ] && has "$work/err" 'runs the code that is in it' && [ ! -e x.gguf ]
}
claim 'a pickle is refused and nothing is left' pickled
cut() {
    mkdir -p cut; cp "$hf"/*.json cut; head -c 30000 "$hf/model.safetensors" > cut/model.safetensors
    run "$llmos" run cut hello; [ "$code" = 1 ] && has "$work/err" "folder 'cut'" && has "$work/err" 'there are' || return 1
    ls -- *.part cache/converted/*.part 2> /dev/null && return 1
    true
}
claim 'a folder that lies is refused with a sentence, and nothing is left' cut
quantised() { # as published ones are: experts in MXFP4, matrices in FP8
    for folder in hf-mxfp4 hf-fp8; do
        run "$llmos" run "$LLMOS_SOURCE/tests/data/$folder" 'the and than' --temperature 0 --max-tokens 12; [ "$code" = 0 ] && [ -s "$work/out" ] || return 1
        run "$llmos" quantize "$LLMOS_SOURCE/tests/data/$folder" "$folder.gguf" Q8_0 --requantize; [ "$code" = 0 ] && [ -s "$folder.gguf" ] || return 1
    done
    run "$llmos" inspect "$LLMOS_SOURCE/tests/data/hf-mxfp4"; has "$work/out" mxfp4
}
claim 'folders that are quantised run, and quantize takes folders' quantised
cleans_converted() { run "$llmos" pack --clean; [ "$code" = 0 ] && [ -z "$(ls cache/converted)" ]; }
claim 'pack --clean removes converted models too' cleans_converted

# ---- a daemon ----
no_daemon() { run "$llmos" ps; [ "$code" = 1 ] && has "$work/err" "no daemon listens at '$LLMOS_SOCKET'; start one with: llmos serve"; }
claim 'ps without a daemon says how to start one' no_daemon
if [ "${LLMOS_SANITIZED:-}" ]; then
    skip 'ps and stop ask a daemon' 'a sanitized engine cannot live in the room that a daemon gives it'
    finish
fi
"$tools/split_model" tiny.gguf b 3 || exit 1
"$llmos" serve --model "a=tiny.gguf" --model b-00002-of-00003.gguf --kv-type q8_0 --port 0 2> daemon.log &
at_end=$!
for _ in $(seq 100); do
    grep -q 'ready.*model=a' daemon.log && grep -q 'ready.*model=b' daemon.log && break
    sleep 0.1
done
lists() { run "$llmos" ps; cat daemon.log >> "$work/log"; [ "$code" = 0 ] && grep -q '^a  *ready' "$work/out" && grep -q '^b  *ready' "$work/out" && has "$work/out" PACKED; }
claim 'ps lists the models that serve began with, in one file and in parts' lists
lists_json() { run "$llmos" ps --json; [ "$("$tools/json_get" vces.1.state < "$work/out")" = ready ] && [ "$("$tools/json_get" vces.0.isolation.0.layer < "$work/out")" = user ]; }
claim 'ps --json is what the daemon says' lists_json
lists_caches() { run "$llmos" ps; [ "$(grep -c ' q8_0 ' "$work/out")" = 2 ] && run "$llmos" ps --json && [ "$("$tools/json_get" vces.0.kv_type < "$work/out")" = q8_0 ]; }
claim 'ps shows what type of cache the models have' lists_caches
layers() { run "$llmos" ps --isolation; [ "$code" = 0 ] && [ "$(grep -c '^  seccomp  ' "$work/out")" = 2 ]; }
claim 'ps --isolation shows the layers of each model' layers
stops() { run "$llmos" stop b; [ "$code" = 0 ] || return 1; sleep 0.3; run "$llmos" ps; grep -q '^a  *ready' "$work/out" && grep -q '^b  *stopped' "$work/out"; }
claim 'stop ends one model and the other goes on' stops
unknown() { run "$llmos" stop nobody; [ "$code" = 1 ] && has "$work/err" "cannot stop 'nobody'"; }
claim 'stop says that there is no such model' unknown
finish
