package cli

import (
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// Completion is the script that completes the tool's command lines in a shell. It asks the tool itself, which knows its
// commands, options and their values best, and finds files as the tool says of which kind they are. What the tool answers
// is taken as it stands: no shell expands it.
func Completion(app *urfave.App, shell string) (string, error) {
	function := "_" + strings.ReplaceAll(app.Name, "-", "_")
	fill := strings.NewReplacer("FUNCTION", function, "TOOL", app.Name)
	switch shell {
	case "bash":
		return fill.Replace(bashCompletion), nil
	case "zsh":
		return fill.Replace(zshCompletion), nil
	case "fish":
		return fill.Replace(fishCompletion), nil
	}
	return "", fmt.Errorf("there is no completion for %q: bash, zsh or fish", shell)
}

const bashCompletion = `FUNCTION() {
  local word="${COMP_WORDS[COMP_CWORD]}" line ending
  local -a asked=("${COMP_WORDS[@]:1:COMP_CWORD}") endings=()
  [[ "$word" == "=" ]] && { word=""; asked+=(""); }
  COMPREPLY=()
  while IFS= read -r line; do
    case "$line" in
    :directories)
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$word")
      compopt -o filenames 2>/dev/null ;;
    :files*)
      read -r -a endings <<<"${line#:files}"
      for ending in "${endings[@]}"; do
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -X "!*.$ending" -- "$word")
      done
      if [[ ${#endings[@]} -eq 0 || ${#COMPREPLY[@]} -eq 0 ]]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$word")
      else
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$word")
      fi
      compopt -o filenames 2>/dev/null ;;
    *)
      COMPREPLY+=("${line%%$'\t'*}") ;;
    esac
  done < <("${COMP_WORDS[0]}" "${asked[@]}" --generate-bash-completion 2>/dev/null)
}
complete -F FUNCTION TOOL
`

const zshCompletion = `#compdef TOOL
FUNCTION() {
  local line ending ret=1
  local -a found patterns
  while IFS= read -r line; do
    case "$line" in
    :directories) _files -/ && ret=0 ;;
    :files*)
      patterns=()
      for ending in ${=line#:files}; do patterns+=("*.$ending"); done
      if (( ${#patterns} )) && _files -g "(${(j:|:)patterns})"; then ret=0; else _files && ret=0; fi ;;
    *)
      if [[ "$line" == *$'\t'* ]]; then
        found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
      else
        found+=("${line//:/\\:}")
      fi ;;
    esac
  done < <("${words[1]}" "${(@)words[2,CURRENT]}" --generate-bash-completion 2>/dev/null)
  (( ${#found} )) && _describe values found && ret=0
  return ret
}
compdef FUNCTION TOOL
`

const fishCompletion = `function FUNCTION
    set -l line (commandline -opc)
    set -l word (commandline -ct)
    for one in ($line[1] $line[2..-1] "$word" --generate-bash-completion 2>/dev/null)
        switch $one
            case ':directories'
                __fish_complete_directories "$word"
            case ':files*'
                set -l found
                for ending in (string split -n ' ' -- (string replace ':files' '' -- $one))
                    set -a found (__fish_complete_suffix ".$ending" | string match -- "*.$ending*")
                end
                if test (count $found) -eq 0
                    __fish_complete_path "$word"
                else
                    printf '%s\n' $found
                end
            case '*'
                printf '%s\n' $one
        end
    end
end
complete -c TOOL -f -a '(FUNCTION)'
`
