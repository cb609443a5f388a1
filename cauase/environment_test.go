package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	manners "cauase/pkg/cli"
)

// What is for this tool is no mistake in the environment of another.
func TestVariablesAreKnownToAllTools(t *testing.T) {
	s := newShell(t)
	for _, name := range append(manners.Variables(newApp(environment{})), envInvite) {
		var out bytes.Buffer
		err := manners.Run(t.Context(), manners.NewApp("cauase-probe", "", &out, &out), []string{"cauase-probe"})
		t.Setenv(name, "x")
		err = errors.Join(err, manners.Run(t.Context(), manners.NewApp("cauase-probe", "", &out, &out), []string{"cauase-probe"}))
		if err != nil || strings.Contains(out.String(), name) {
			t.Errorf("%s: %v %s", name, err, out.String())
		}
		os.Unsetenv(name)
	}
	t.Setenv("CAUASE_STORE", ".")
	t.Setenv("CAUASE_USER_KYE", "user.pem")
	s.exits("ca update --json", 1)
	s.says(`"message":"environment variable CAUASE_USER_KYE: there is no such setting","hint":"did you mean CAUASE_USER_KEY\?"`)
	s.ok("completion bash")
	s.ok("ca update --help")
}
