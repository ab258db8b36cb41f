# Completion of agentkernel for elvish, written by 'agentkernel completions elvish'. Source it from rc.elv:
#     eval (agentkernel completions elvish | slurp)

use str

set edit:completion:arg-completer[agentkernel] = {|@words|
    var found = [(try {
        (external agentkernel) complete elvish (- (count $words) 1) -- $@words 2>/dev/null | from-lines
    } catch { })]
    if (== (count $found) 0) {
        edit:complete-filename $@words
    } else {
        for line $found {
            var parts = [(str:split "\t" $line)]
            if (== (count $parts) 1) {
                edit:complex-candidate $parts[0]
            } else {
                edit:complex-candidate $parts[0] &display=$parts[0]'  '$parts[1]
            }
        }
    }
}
