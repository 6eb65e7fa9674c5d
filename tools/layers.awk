# layers.awk - fails if a folder includes a folder of its own layer or above.
# usage: awk -f tools/layers.awk docs/ARCHITECTURE.md src/*/*.[ch]
# Rows of the table look like:  | 2 | `model` | ... |
FNR == 1 { n = split(FILENAME, path, "/"); folder = path[n - 1] }
/^\| [0-9]+ \|/ && FILENAME ~ /\.md$/ {
    split($0, cell, "|")
    number = cell[2] + 0
    while (match(cell[3], /`[a-z]+`/)) {
        layer[substr(cell[3], RSTART + 1, RLENGTH - 2)] = number
        cell[3] = substr(cell[3], RSTART + RLENGTH)
    }
}
/^#include "[a-z]+\// && FILENAME !~ /\.md$/ {
    split($2, part, /["\/]/)
    other = part[2]
    if (other == "llmos" || other == folder) next
    if (!(folder in layer)) { print FILENAME ": folder '" folder "' is not in the layer table"; bad = 1 }
    else if (!(other in layer) || layer[other] >= layer[folder]) {
        print FILENAME ":" FNR ": '" folder "' may not include '" other "'"; bad = 1
    }
}
END { exit bad }
