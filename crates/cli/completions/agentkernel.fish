# Completion of agentkernel for fish, written by 'agentkernel completions fish'.

function __agentkernel_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l found (command agentkernel complete fish (count $words) -- $words (commandline --current-token --cut-at-cursor) 2>/dev/null)
    if test (count $found) -gt 0
        string join \n -- $found
    else
        __fish_complete_path (commandline --current-token --cut-at-cursor)
    end
end

complete --command agentkernel --no-files --keep-order --arguments '(__agentkernel_complete)'
