# For the scripts that follow a page as printed, except for the secrets.
# shellcheck shell=bash

page=docs/name-servers.md
declare -A secrets

# Prints the steps of a section as a shell script. A block in the language "sh" stays as it is. Any other
# block is written to the file that the line before it names: ... `FILE`, mode MODE, group GROUP:
steps() { # HEADING
    local name substitutes=()
    for name in "${!secrets[@]}"; do substitutes+=(-e "s|$name|${secrets[$name]}|"); done
    sed -e '' "${substitutes[@]}" "$page" | awk -v heading="## $1" '
        /^## / { here = $0 == heading; label = "" }
        !here || /^$/ && !block { next }
        /^```/ && block { print is_file ? "END-OF-FILE" : ""; block = 0; label = ""; next }
        /^```/ { block = 1; is_file = $0 != "```sh" }
        /^```/ && is_file {
            mode = match(label, /mode [0-7]+/) ? substr(label, RSTART + 5, RLENGTH - 5) : "644"
            group = match(label, /group [a-z-]+/) ? substr(label, RSTART + 6, RLENGTH - 6) : "root"
            match(label, /`\/[^`]+`[^`]*:$/)
            split(substr(label, RSTART), parts, "`")
            print "install -m " mode " -g " group " /dev/stdin " parts[2] " <<\"END-OF-FILE\""
        }
        /^```/ { next }
        block { print; next }
        { label = $0 }'
}
follow() { # HEADING [COMMAND...]: takes the steps of this section, with the command in front
    local text said
    text=$(steps "$1")
    [ -n "$text" ] || fail "$page has no steps in: $1"
    said=$("${@:2}" bash -e <<<"$text" 2>&1) || fail "$1: $said"
    echo "ok: $1"
}
