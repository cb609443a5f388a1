package cli

import (
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// manPage is the manual page of a tool, of section 1, or 8 for what a system runs and not a
// person (make install knows them, too). The same binary gives the same page on every machine
// and day.
func manPage(app *urfave.App) (string, error) {
	section := 1
	if app.Name == "cauased" || app.Name == "cauase-updater" {
		section = 8
	}
	return app.ToManWithSection(section)
}

// Completion is the script that completes the tool's command lines in a shell. Those of bash
// and zsh ask the tool itself, which knows its commands and flags best; where it has nothing
// to offer, files are.
func Completion(app *urfave.App, shell string) (string, error) {
	function := "_" + strings.ReplaceAll(app.Name, "-", "_")
	fill := strings.NewReplacer("FUNCTION", function, "TOOL", app.Name)
	switch shell {
	case "bash":
		return fill.Replace(bashCompletion), nil
	case "zsh":
		return fill.Replace(zshCompletion), nil
	case "fish":
		return app.ToFishCompletion()
	}
	return "", fmt.Errorf("there is no completion for %q: bash, zsh or fish", shell)
}

const bashCompletion = `FUNCTION() {
  local word="${COMP_WORDS[COMP_CWORD]}" words
  words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ "$word" == -* ]] && words+=("$word")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o bashdefault -o default -F FUNCTION TOOL
`

const zshCompletion = `#compdef TOOL
FUNCTION() {
  local -a found
  local word="${words[CURRENT]}"
  local -a line=("${(@)words[1,CURRENT-1]}")
  [[ "$word" == -* ]] && line+=("$word")
  found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${line[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then _describe values found; else _files; fi
}
compdef FUNCTION TOOL
`
