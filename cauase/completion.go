package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion script of a shell",
		ArgsUsage: "bash|zsh|fish",
		Action: func(c *cli.Context) error {
			script := ""
			switch c.Args().First() {
			case "bash":
				script = bashCompletion
			case "zsh":
				script = zshCompletion
			case "fish":
				var err error
				if script, err = c.App.ToFishCompletion(); err != nil {
					return err
				}
			default:
				return errUsage(c, "of which shell?")
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// Both ask the program itself, which knows its commands and flags best; where it has
// nothing to offer, files are.

const bashCompletion = `_cauase() {
  local word="${COMP_WORDS[COMP_CWORD]}" words
  words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ "$word" == -* ]] && words+=("$word")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o bashdefault -o default -F _cauase cauase
`

const zshCompletion = `#compdef cauase
_cauase() {
  local -a found
  local word="${words[CURRENT]}"
  local -a line=("${(@)words[1,CURRENT-1]}")
  [[ "$word" == -* ]] && line+=("$word")
  found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${line[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then _describe values found; else _files; fi
}
compdef _cauase cauase
`
