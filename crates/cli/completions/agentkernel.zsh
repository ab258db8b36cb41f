#compdef agentkernel
# Completion of agentkernel for zsh, written by 'agentkernel completions zsh'. Save it as _agentkernel in a directory of
# your fpath, or source it after compinit.

_agentkernel() {
    local -a found
    found=("${(@f)$(command agentkernel complete zsh $((CURRENT - 1)) -- \
        "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( $#found )); then
        _describe -V 'agentkernel' found
    else
        _files
    fi
}

if [[ ${funcstack[1]} == _agentkernel ]]; then
    _agentkernel "$@"
else
    compdef _agentkernel agentkernel
fi
