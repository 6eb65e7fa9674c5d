# summary.awk - counts the claims of a test run.
# usage: awk -f tools/summary.awk build/meson-logs/testlog.json
# Each line of that file is one test program with its TAP output.  A program that ended badly without a
# "not ok" line (a crash, a time-out, a plan that was not met) counts as one failure.
function unescape(s) { gsub(/\\n/, "\n", s); return s }
{
    result = ""
    if (match($0, /"result": "[A-Z]+"/)) result = substr($0, RSTART + 11, RLENGTH - 12)
    name = ""
    if (match($0, /"name": "[^"]*"/)) name = substr($0, RSTART + 9, RLENGTH - 10)
    n = split(unescape($0), line, "\n")
    bad_here = 0; any = 0
    for (i = 1; i <= n; i++) {
        l = line[i]
        sub(/^.*"stdout": "/, "", l)
        if (l ~ /^ok [0-9]+/) { any = 1; if (l ~ /# SKIP/) { skipped++; print "SKIP " name ": " l } else passed++ }
        else if (l ~ /^not ok [0-9]+/) { any = 1; failed++; bad_here++; print "FAIL " name ": " l }
    }
    if ((result == "FAIL" || result == "ERROR" || result == "TIMEOUT") && !bad_here) { failed++; print "FAIL " name ": ended with " result }
    if (!any && result == "OK") passed++
    if (!any && result == "SKIP") skipped++
}
END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit failed > 0 }
