# One table of the JSON lines of dev/report.cpp: flat objects, in whose strings there is no quote. Times of each version
# with its fastest block size; where there are none, which versions are right. Set markdown=1 for a file.
function field(name,  rest) {
    if (!match($0, "\"" name "\":")) return ""
    rest = substr($0, RSTART + RLENGTH)
    if (sub(/^"/, "", rest)) sub(/".*/, "", rest); else sub(/[,}].*/, "", rest)
    return rest
}
/"fastest":true/ {
    if (!rows++) {
        printf "\n%s; median of the runs, +- half the distance between their quartiles\n", field("device")
        if (markdown) print "\n```"
        printf "%-30s %6s %-4s %-26s %5s %12s %8s %10s %-7s %10s  %s\n", "operator", "kernel", "type", "shape", "block", \
            "microseconds", "+-", "rate", "", "of ceiling", "what"
    }
    printf "%-30s %6d %-4s %-26s %5s %12.1f %8.1f %10.1f %-7s %9.1f%%  %s\n", field("operator"), field("version"), \
        field("type"), field("shape"), (field("block") > 0 ? field("block") : "-"), field("microseconds"), \
        field("spread"), field("rate"), field("unit"), field("percent"), field("what")
}
/"correct":/ {
    id = field("operator") " kernel " field("version")
    if (!(id in checks)) order[++versions] = id
    checks[id] += field("checks")
    if (/"correct":true/) types[id] = types[id] " " field("type")
    else { wrong++; print id, field("type"), "WRONG: " field("wrong") }
}
END {
    if (rows && markdown) print "```\n"
    if (!rows) for (k = 1; k <= versions; k++) if (types[order[k]]) printf "%-42s %5d checks, right in%s\n", order[k], checks[order[k]], types[order[k]]
    printf "%d versions validated; wrong in some type: %d times\n", versions, wrong
}
