# Completion of agentkernel for PowerShell, written by 'agentkernel completions powershell'. Add to $PROFILE:
#     agentkernel completions powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName agentkernel -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    # Words before the one that is typed; that one is counted, not passed, when it is empty: empty arguments get lost.
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.ToString() })
    $index = $words.Count
    if ($wordToComplete) { $words += $wordToComplete }
    $program = Get-Command -CommandType Application -Name agentkernel -ErrorAction SilentlyContinue |
        Select-Object -First 1
    if (-not $program) { return }
    & $program complete powershell $index -- $words 2>$null | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
}
