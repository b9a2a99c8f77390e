# Runs as the builder of a derivation in place of its own script: sets up the environment as that one would begin with, and
# writes all variables and functions to the first output as JSON. The format is that of `nix print-dev-env --json`.

set -e
if [[ -e ${NIX_ATTRS_SH_FILE-} ]]; then source "$NIX_ATTRS_SH_FILE"; fi
export IN_NIX_SHELL=impure
export dontAddDisableDepTrack=1
if [[ -n ${stdenv-} ]]; then source "$stdenv/setup"; fi
set +u

# What is defined from here on is not part of the environment.
nixlang_functions=$(declare -F)
nixlang_variables=()
# The names of all variables: every beginning that one can have is asked for.
for nixlang_prefix in {A..Z} {a..z} _; do
    eval "nixlang_variables+=(\"\${!$nixlang_prefix@}\")"
done

nixlang_json() {
    local text=$1 code char
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    if [[ $text == *[[:cntrl:]]* ]]; then
        text=${text//$'\n'/\\n}
        text=${text//$'\t'/\\t}
        text=${text//$'\r'/\\r}
        for code in {1..31}; do
            printf -v code '%02x' "$code"
            printf -v char "\\x$code"
            text=${text//"$char"/\\u00$code}
        done
    fi
    printf '"%s"' "$text"
}

nixlang_variable() {
    local nixlang_name=$1 nixlang_declared nixlang_key nixlang_comma=
    nixlang_declared=$(declare -p "$nixlang_name" 2> /dev/null) || return 0
    # Variables with more than one property, such as exported arrays, can't be said in the format.
    [[ $nixlang_declared =~ ^declare\ (-[^\ ])\  ]] || return 0
    nixlang_declared=${BASH_REMATCH[1]}
    printf '%s    ' "$nixlang_separator"
    nixlang_separator=$',\n'
    nixlang_json "$nixlang_name"
    local -n nixlang_variable=$nixlang_name
    case $nixlang_declared in
        -x | --)
            printf ': {"type": "%s", "value": ' "$([[ $nixlang_declared = -x ]] && echo exported || echo var)"
            nixlang_json "$nixlang_variable"
            ;;
        -a)
            printf ': {"type": "array", "value": ['
            for nixlang_key in "${nixlang_variable[@]}"; do
                printf '%s' "$nixlang_comma"
                nixlang_json "$nixlang_key"
                nixlang_comma=', '
            done
            printf ']'
            ;;
        -A)
            printf ': {"type": "associative", "value": {'
            for nixlang_key in "${!nixlang_variable[@]}"; do
                printf '%s' "$nixlang_comma"
                nixlang_json "$nixlang_key"
                printf ': '
                nixlang_json "${nixlang_variable[$nixlang_key]}"
                nixlang_comma=', '
            done
            printf '}'
            ;;
        *)
            printf ': {"type": "unknown"'
            ;;
    esac
    printf '}'
}

nixlang_dump() {
    local nixlang_name nixlang_line nixlang_body nixlang_separator=
    printf '{\n  "bashFunctions": {\n'
    while read -r nixlang_line; do
        nixlang_name=${nixlang_line#declare -f }
        [[ -n $nixlang_line && $nixlang_name != "$nixlang_line" ]] || continue
        nixlang_body=$(declare -f -- "$nixlang_name")
        nixlang_body=${nixlang_body#*\{}
        printf '%s    ' "$nixlang_separator"
        nixlang_separator=$',\n'
        nixlang_json "$nixlang_name"
        printf ': '
        nixlang_json "${nixlang_body%\}*}"
    done <<< "$nixlang_functions"
    printf '\n  },\n  "variables": {\n'
    nixlang_separator=
    for nixlang_name in "${nixlang_variables[@]}"; do
        case $nixlang_name in
            # What belongs to one running shell, and what this script made.
            BASH_* | COMP_* | nixlang_* | _ | DIRSTACK | EPOCHREALTIME | EPOCHSECONDS | EUID | FUNCNAME | GROUPS | HISTCMD | HOSTNAME | PIPESTATUS | PWD | RANDOM | SECONDS | SHLVL | SRANDOM) ;;
            *) nixlang_variable "$nixlang_name" ;;
        esac
    done
    printf '\n  }'
    if [[ -e ${NIX_ATTRS_SH_FILE-} ]]; then
        printf ',\n  "structuredAttrs": {\n    ".attrs.sh": '
        nixlang_json "$(< "$NIX_ATTRS_SH_FILE")"
        printf ',\n    ".attrs.json": '
        nixlang_json "$(< "$NIX_ATTRS_JSON_FILE")"
        printf '\n  }'
    fi
    printf '\n}\n'
}

# Everything goes to the first output; the others only have to exist. With structured attributes `outputs` has the paths, else their names.
if [[ -e ${NIX_ATTRS_SH_FILE-} ]]; then
    nixlang_outputs=("${outputs[@]}")
else
    nixlang_outputs=()
    for nixlang_output in $outputs; do nixlang_outputs+=("${!nixlang_output}"); done
fi
nixlang_dump > "${nixlang_outputs[0]}"
for nixlang_output in "${nixlang_outputs[@]:1}"; do : > "$nixlang_output"; done
