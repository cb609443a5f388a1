package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"cauase/pkg/testkit"
)

// TestTheManualHasWhatHooksAreTold: its examples are messages of this version, and all members of messages and answers stand in it.
func TestTheManualHasWhatHooksAreTold(t *testing.T) {
	page, err := os.ReadFile("../../docs/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		// What is left out would not parse.
		text := strings.ReplaceAll(strings.ReplaceAll(block[1], `"…": "…",`, ""), `"not_before": "…", "not_after": "…"`, `"not_before": "2031-05-01T12:00:00Z", "not_after": "2031-05-01T12:00:00Z"`)
		var which struct {
			Hook     Event  `json:"hook"`
			Decision string `json:"decision"`
			Unknown  any    `json:",unknown"`
		}
		if err := json.Unmarshal([]byte(text), &which); err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		var into any
		switch {
		case which.Hook == Authorize:
			into = new(AuthorizeInput)
		case which.Hook == Presign:
			into = new(PresignInput)
		case which.Hook == Postsign:
			into = new(IssuedEvent)
		case which.Decision != "":
			into = new(AuthorizeAnswer)
		default:
			t.Errorf("of no hook: %s", text)
			continue
		}
		if err := json.Unmarshal([]byte(text), into, json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
		examples++
	}
	if examples < 4 {
		t.Errorf("%d examples", examples)
	}
	for _, message := range []any{AuthorizeInput{}, AuthorizeAnswer{}, PresignInput{}, PresignAnswer{}, IssuedEvent{}, BootInput{}, BootAnswer{}} {
		for _, member := range membersOf(reflect.TypeOf(message)) {
			if !strings.Contains(string(page), `"`+member+`"`) && !strings.Contains(string(page), "`"+member+"`") {
				t.Errorf("%T: %s is not in docs/hooks.md", message, member)
			}
		}
	}
}

func membersOf(typ reflect.Type) (names []string) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice:
		return membersOf(typ.Elem())
	case reflect.Struct:
		if typ.PkgPath() == "time" || strings.HasSuffix(typ.PkgPath(), "pkg/policy") && typ.Name() == "Certificate" {
			return nil
		}
		for i := range typ.NumField() {
			field := typ.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			names = append(append(names, name), membersOf(field.Type)...)
		}
	}
	return names
}

// TestTheManualMakesASecret that a webhook takes.
func TestTheManualMakesASecret(t *testing.T) {
	testkit.Need(t, "openssl", "openssl")
	page, err := os.ReadFile("../../docs/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```" + "sh secret" + "\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/hooks.md has no block of that name")
	}
	cmd := exec.Command("sh", "-ec", string(block[1]))
	cmd.Dir = safeDir(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if secrets, err := readSecrets(filepath.Join(cmd.Dir, "inventory.secret")); err != nil || len(secrets) != 1 || len(secrets[0]) != 32 {
		t.Errorf("%d secrets, %v", len(secrets), err)
	}
}
