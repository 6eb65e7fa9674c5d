#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# openai.sh - the npm package openai against llmosd; nothing is downloaded here (npm ci in tests/e2e/openai does)
set -eu
here="$LLMOS_SOURCE/tests/e2e/openai"
skip() { echo "1..0 # SKIP $1"; exit 0; }
command -v node >/dev/null || skip "node is not installed"
[ -d "$here/node_modules/openai" ] || skip "no node_modules: run npm ci in tests/e2e/openai"

work=$(mktemp -d)
daemon=
finish() { [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true; [ -z "$daemon" ] || wait "$daemon" || true; rm -rf "$work"; }
trap finish EXIT
"$LLMOS_BUILD/tests/e2e/synth_model" tiny "$work/tiny.gguf" chatml
cat >"$work/llmos.yaml" <<END
listen: {port: 0}
socket: $work/sock
models: [{name: org/tiny:1, path: tiny.gguf, context: 2048}]
${LLMOS_TEST_ISOLATION:-}
END
LLMOS_LIBEXEC="$LLMOS_BUILD" "$LLMOS_BUILD/llmosd" --config "$work/llmos.yaml" 2>"$work/log" &
daemon=$!
for _ in $(seq 300); do
    grep -q 'serving models' "$work/log" && break
    sleep 0.1
done
port=$(sed -n 's/.*listening .* port=\([0-9]*\) .*/\1/p' "$work/log")
spec=${LLMOS_SHARED:-$LLMOS_SOURCE/../shared}/judges/openai-openapi.json
[ -f "$spec" ] || spec=
node "$here/run.mjs" "http://127.0.0.1:$port" org/tiny:1 ${spec:+"$spec"} || { sed 's/^/# /' "$work/log"; exit 1; }
