# Completion of agentkernel for bash 3.2 or later, written by 'agentkernel completions bash'.

_agentkernel() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() n=0 head='' text word i
    # bash splits at ':' and '=' too: what stands together on the line is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        text=${rest#"${rest%%[![:space:]]*}"}
        word=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then word=$text; fi
        if ((n > 0)) && [[ $text == "$rest" ]]; then
            head=${words[n - 1]}
            words[n - 1]+=$word
        else
            head=''
            words[n]=$word
            n=$((n + 1))
        fi
        rest=${text#"$word"}
    done
    # bash replaces the last of its own words, but never a separator.
    case $word in
        [:=]*) head=${words[n - 1]} ;;
    esac
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY[${#COMPREPLY[@]}]=${word#"$head"}
    done < <(command agentkernel complete bash $((n - 1)) -- "${words[@]}" 2>/dev/null)
}

complete -o bashdefault -o default -F _agentkernel agentkernel
