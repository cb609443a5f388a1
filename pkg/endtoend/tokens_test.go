package endtoend

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"cauase/pkg/testkit"
	"cauase/pkg/testkit/softhsm"
)

type hsmKey struct{}

// TestTokens runs testdata/pkcs11: a cauased that can use PKCS #11 tokens, with those of SoftHSM 2. A script has two tokens, one and two; TOKEN_ONE
// and TOKEN_TWO say how they are reached, by a library that is slow with the token SLOW_TOKEN while there is a file SLOW_WHILE. plain is the cauased
// without support for tokens.
//
// token pull pulls out all tokens, token put puts them back; token list NAME lists the objects on one; token pin PIN changes what is in the
// file of the PIN.
func TestTokens(t *testing.T) {
	cc := testkit.Need(t, "gcc", "gcc")
	softhsm.Check(t)
	dir := t.TempDir()
	if err := testkit.BuildPKCS11(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(releasedDir, "cauased"), filepath.Join(dir, "plain")); err != nil {
		t.Fatal(err)
	}
	slow := filepath.Join(dir, "slow.so")
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", slow, "testdata/slow.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	params := scripts(t, "../../testdata/pkcs11", func(env *testscript.Env) error {
		if err := setupScript(env); err != nil {
			return err
		}
		env.Values[stateKey{}].(*state).bin = dir
		h, err := softhsm.Make(env.WorkDir)
		if err != nil {
			return err
		}
		env.Values[hsmKey{}] = h
		if err := h.Init("one"); err != nil {
			return err
		}
		if err := h.Init("two"); err != nil {
			return err
		}
		if err := h.SetPIN(softhsm.PIN); err != nil {
			return err
		}
		h.Library = slow
		env.Setenv("SOFTHSM2_CONF", h.Conf)
		env.Setenv("TOKEN_ONE", h.URI("one"))
		env.Setenv("TOKEN_TWO", h.URI("two"))
		env.Setenv("SLOW_TOKEN", "one")
		env.Setenv("SLOW_WHILE", filepath.Join(env.WorkDir, "slow"))
		env.Setenv("PATH", dir+string(filepath.ListSeparator)+env.Getenv("PATH"))
		return nil
	}, "sqlite")
	params.Cmds["token"] = cmdToken
	testscript.Run(t, params)
}

func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	h := ts.Value(hsmKey{}).(*softhsm.HSM)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: token pull|put|list NAME|pin PIN")
	}
	switch args[0] {
	case "pull":
		ts.Check(h.Pull())
	case "put":
		ts.Check(h.Put())
	case "pin":
		ts.Check(h.SetPIN(args[1]))
	case "list":
		ts.Check(ts.Exec(h.Tool, h.Args(args[1], "--list-objects")...))
	default:
		ts.Fatalf("unknown: token %s", args[0])
	}
}
