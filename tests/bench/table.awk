# table.awk - from rows and samples to a table.  Run by bench.sh:
#
#   awk -F '|' -v samples=FOLDER -v form=md|json -v against=''|NAME -v noise=SHARE -f table.awk ROWS
#
# A sample file FOLDER/MEASURE:FIGURE:PROGRAM has a line a run, "-" for one that failed.  The i-th
# lines of two programs are a pair.  Exit code 1: a row does not meet its floor, is slower than
# --against's build, or has no result.

function sort(x, n,    i, j, keep) {
    for (i = 2; i <= n; i++) {
        keep = x[i]
        for (j = i - 1; j >= 1 && x[j] > keep; j--)
            x[j + 1] = x[j]
        x[j + 1] = keep
    }
}

function median(x, n,    i, own) {
    for (i = 1; i <= n; i++)
        own[i] = x[i]
    sort(own, n)
    return (own[int((n + 1) / 2)] + own[int((n + 2) / 2)]) / 2
}

# read_samples(FILE, X): X[1 ...], and how many lines there were.
function read_samples(file, x,    n, line) {
    n = 0
    while ((getline line < file) > 0)
        x[++n] = line
    close(file)
    return n
}

# middle(X, N): the median of the runs that did not fail; "" without one.
function middle(x, n,    i, m, good) {
    m = 0
    for (i = 1; i <= n; i++)
        if (x[i] != "-")
            good[++m] = x[i] + 0
    return m ? median(good, m) : ""
}

# met(RATIO, SENSE, BOUND)
function met(ratio, sense, bound) {
    return sense == ">=" ? ratio >= bound : sense == "<=" ? ratio <= bound : ratio < bound
}

# compare(FILE OF OURS, FILE OF THEIRS): sets n_ours, n_theirs (runs), ours, theirs (medians),
# pairs, ratio (median of the pairs'), low, high (the least and the largest of them), spread (the
# median distance of the pairs' ratios from their median).
function compare(file, other,    i, a, b, n, r, off) {
    n_ours = read_samples(file, a)
    n_theirs = read_samples(other, b)
    ours = middle(a, n_ours)
    theirs = middle(b, n_theirs)
    n = n_ours < n_theirs ? n_ours : n_theirs
    pairs = 0
    for (i = 1; i <= n; i++)
        if (a[i] != "-" && b[i] != "-")
            r[++pairs] = a[i] / b[i]
    ratio = low = high = spread = ""
    if (!pairs)
        return
    ratio = median(r, pairs)
    low = high = r[1]
    for (i = 1; i <= pairs; i++) {
        low = r[i] < low ? r[i] : low
        high = r[i] > high ? r[i] : high
        off[i] = r[i] > ratio ? r[i] - ratio : ratio - r[i]
    }
    spread = median(off, pairs)
}

# judge(SENSE, FLOOR, AIM): what a row of the table has reached.
function judge(sense, floor, aim) {
    if (ours == "")
        return "failed"
    if (floor == "-")
        return "-"
    if (!n_theirs)
        return "no peer"
    if (!pairs)
        return "peer failed"
    return met(ratio, sense, aim) ? "aim" : met(ratio, sense, floor) ? "floor" : "no"
}

# judge_builds(FIGURE): slower or faster than the other build by more than the noise: `noise`, or
# twice the spread of the pairs where that is more.  Of times and memory, less is better.
function judge_builds(figure,    gain, limit) {
    if (ours == "")
        return "failed"
    if (!pairs)
        return "not measured"
    gain = figure == "rate" ? ratio - 1 : 1 - ratio
    limit = 2 * spread > noise ? 2 * spread : noise
    return gain < -limit ? "slower" : gain > limit ? "faster" : "same"
}

function unit_of(figure) {
    return figure == "rate" ? "tok/s" : figure == "peak" ? "GiB" : figure == "wall" ? "s" : "us"
}

# number(X, FIGURE): a value in the figure's unit, in four digits or so.
function number(x, figure) {
    if (x == "")
        return "-"
    x = figure == "peak" ? x / 1073741824 : x
    return sprintf(x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : x >= 1 ? "%.2f" : "%.3f", x)
}

function as_ratio(x) {
    return x == "" ? "-" : sprintf("%.3f", x)
}

function name_of(program) {
    return program == "vulkan" ? "llama.cpp Vulkan" : program == "cpu" ? "llama.cpp CPU" \
        : program == "torch" ? "PyTorch CPU" : program == "limit" ? "its limit" \
        : program == "that" ? against : "-"
}

# quoted(TEXT): as a string of JSON.
function quoted(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    gsub(/[\001-\037]/, " ", text)
    return "\"" text "\""
}

function json_number(x) {
    return x == "" || x == "-" ? "null" : sprintf("%.6g", x)
}

function bound(sense, x) {
    return x == "-" ? "-" : sense " " x
}

function print_md(text, figure, program, sense, floor, aim, verdict,    range) {
    range = pairs ? as_ratio(low) ".." as_ratio(high) : "-"
    if (against != "")
        printf "| %-48s | %10s | %10s | %8s | %14s | %-12s |\n", text ", " unit_of(figure),
            number(ours, figure), number(theirs, figure), as_ratio(ratio), range, verdict
    else
        printf "| %-48s | %-16s | %10s | %10s | %8s | %14s | %8s | %7s | %-11s |\n",
            text ", " unit_of(figure), name_of(program), number(ours, figure),
            number(theirs, figure), as_ratio(ratio), range, bound(sense, floor), bound(sense, aim),
            verdict
}

function print_json(text, measure, figure, program, sense, floor, aim, verdict) {
    printf "%s{\"row\": %s, \"measure\": %s, \"figure\": %s, \"unit\": %s, \"against\": %s, ",
        (rows > 1 ? ",\n  " : "  "), quoted(text), quoted(measure), quoted(figure),
        quoted(figure == "peak" ? "bytes" : unit_of(figure)), quoted(name_of(program))
    printf "\"value\": %s, \"peer\": %s, \"pairs\": %d, \"ratio\": %s, \"ratio_least\": %s, " \
        "\"ratio_most\": %s, \"spread\": %s, ", json_number(ours), json_number(theirs), pairs,
        json_number(ratio), json_number(low), json_number(high), json_number(spread)
    printf "\"sense\": %s, \"floor\": %s, \"aim\": %s, \"result\": %s}", quoted(sense),
        json_number(floor), json_number(aim), quoted(verdict)
}

BEGIN {
    bad = rows = 0
    if (form == "md" && against != "")
        print "| measure | this | that | ratio | of the pairs | result |\n" \
            "|---|---:|---:|---:|---:|---|"
    else if (form == "md")
        print "| measure | against | value | peer's | ratio | of the pairs | floor | aim |" \
            " met |\n|---|---|---:|---:|---:|---:|---:|---:|---|"
}

/^#/ || NF < 8 {
    next
}

{
    program = against != "" ? "that" : $5
    rows++
    compare(samples "/" $2 ":" $3 ":apus", samples "/" $2 ":" $3 ":" program)
    verdict = against != "" ? judge_builds($3) : judge($6, $7, $8)
    if (verdict !~ /^(aim|floor|same|faster|-|not measured)$/)
        bad = 1
    if (form == "md")
        print_md($4, $3, program, $6, $7, $8, verdict)
    else
        print_json($4, $2, $3, program, $6, $7, $8, verdict)
}

END {
    exit bad
}
