# strip.awk - C and GLSL without comments, as lines "file:line:text".  With keep_strings=0 strings and
# characters are emptied as well.
FNR == 1 { in_comment = 0 }
{
    rest = $0
    out = ""
    while (rest != "") {
        if (in_comment) {
            at = index(rest, "*/")
            if (!at)
                break
            rest = substr(rest, at + 2)
            in_comment = 0
            continue
        }
        if (!match(rest, /\/\*|\/\/|"|'/)) {
            out = out rest
            break
        }
        mark = substr(rest, RSTART, 1)
        two = substr(rest, RSTART, 2)
        out = out substr(rest, 1, RSTART - 1)
        rest = substr(rest, RSTART)
        if (two == "//")
            break
        if (two == "/*") {
            in_comment = 1
            rest = substr(rest, 3)
            out = out " "
            continue
        }
        n = 2
        while (n <= length(rest) && substr(rest, n, 1) != mark)
            n += substr(rest, n, 1) == "\\" ? 2 : 1
        out = out (keep_strings ? substr(rest, 1, n) : mark mark)
        rest = substr(rest, n + 1)
    }
    print FILENAME ":" FNR ":" out
}
