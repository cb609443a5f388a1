package pkg

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/youmark/pkcs8"

	"cauase/pkg/pki"
)

// A printed command is one of other programs that a message or a page tells people to run.
type printed struct {
	where, text string
	umask       string // the command that sets it before, if there is one
}

// commandsIn finds what runs one of the programs that can destroy a file. In prose they are words like others: a
// command has an option, or something that is the name of a file.
var (
	commandsIn = regexp.MustCompile("(?:^|[^-\\w/.])((?:umask 0?77; )?(?:openssl [a-z0-9]+|cat|cp|mv|rm|dd|ln|tee|shred|truncate|chmod|sed -i|certtool|certutil|keytool|pk12util|gpg)(?: [^\\s`;|&)(,]+)+)")
	continued  = regexp.MustCompile(`\s*\\\n\s*`)
	inline     = regexp.MustCompile("`[^`\n]+\n[^`\n]+`")
	fileLike   = regexp.MustCompile(`^(>?[A-Z][A-Z0-9_]+|-.+|>?[\w$%./*-]*[./%][\w$%./*-]*)$`)
)

func commandsOf(where, text string) (found []printed) {
	text = continued.ReplaceAllString(text, " ")
	text = inline.ReplaceAllStringFunc(text, func(code string) string { return strings.ReplaceAll(code, "\n", " ") })
	for line := range strings.Lines(text) {
		for _, match := range commandsIn.FindAllStringSubmatch(line, -1) {
			umask, command, private := strings.Cut(match[1], "; ")
			if !private {
				umask, command = "", match[1]
			}
			words := strings.Fields(command)
			for i, word := range words {
				if strings.HasPrefix(word, "#") {
					words = words[:i]
					break
				}
			}
			names := words[1:]
			if slices.Contains([]string{"openssl", "sed", "chmod"}, words[0]) {
				names = words[2:]
			}
			// A sentence goes on behind its command.
			for i, name := range names {
				if !fileLike.MatchString(strings.Trim(name, ".:'\"")) && (i == 0 || !strings.HasPrefix(names[i-1], "-")) {
					names = names[:i]
					break
				}
			}
			if len(names) == 0 {
				continue
			}
			words = append(slices.Clone(words[:slices.Index(words, names[0])]), names...)
			found = append(found, printed{where, strings.TrimRight(strings.Join(words, " "), ".:'\""), umask})
		}
	}
	return found
}

// fixedText joins the literals of an expression; what is computed stands as FILE.
func fixedText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		return fixedText(e.X) + fixedText(e.Y)
	}
	return "FILE"
}

func printedCommands(t *testing.T) (all []printed) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && (slices.Contains([]string{"pgtest", "testkit", "judges", "testdata", "bin", "var"}, name) || len(name) > 2 && name[0] == '.'):
			return fs.SkipDir // what runs there are tests
		case entry.IsDir() || strings.HasSuffix(name, "_test.go"):
			return nil
		case strings.HasSuffix(name, ".md"):
			content, err := os.ReadFile(path)
			all = append(all, commandsOf(path, string(content))...)
			return err
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			e, isExpr := n.(ast.Expr)
			if !isExpr {
				return true
			}
			switch e.(type) {
			case *ast.BinaryExpr, *ast.BasicLit:
				all = append(all, commandsOf(files.Position(e.Pos()).String(), fixedText(e))...)
				return false
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Files of a command line, by the role they have there.
var readBy = []string{"-in", "-inkey", "-CAfile", "-CRLfile", "-untrusted", "-certfile", "-trusted", "-key", "-i"}

func roles(command string) (reads, writes []string) {
	words := strings.Fields(command)
	var plain []string
	for i := 1; i < len(words); i++ {
		word := words[i]
		switch {
		case strings.HasPrefix(word, ">"):
			writes = append(writes, strings.TrimLeft(word, ">"))
		case slices.Contains([]string{"-out", "-keyout"}, word) && i+1 < len(words):
			i++
			writes = append(writes, words[i])
		case slices.Contains(readBy, word) && i+1 < len(words):
			i++
			reads = append(reads, words[i])
		case strings.HasPrefix(word, "-"):
		case words[0] == "openssl" && i == 1:
		case words[0] == "chmod" && i == 1:
		default:
			plain = append(plain, word)
		}
	}
	switch words[0] {
	case "cp", "mv", "ln":
		if len(plain) > 1 {
			writes = append(writes, plain[len(plain)-1])
			plain = plain[:len(plain)-1]
		}
	case "openssl":
		if words[1] != "verify" {
			plain = nil // values of options
		}
	}
	return append(reads, plain...), writes
}

// Whoever is told a command by one of our messages or pages runs it as it is printed, on the only copy of a key. None
// empties, replaces or opens to others what it reads.
func TestPrintedCommandsAreSafe(t *testing.T) {
	found := printedCommands(t)
	var samples []printed
	for _, text := range []string{"openssl pkey -in FILE -out FILE", "cat a.pem b.pem >a.pem", "chmod 644 a.key"} {
		samples = append(samples, commandsOf("sample", text)...)
	}
	if len(samples) != 3 {
		t.Fatalf("of 3 samples %d were found: %v", len(samples), samples)
	}
	for _, sample := range samples {
		if runPrinted(t, sample) == nil {
			t.Errorf("%s: passes for safe", sample.text)
		}
	}
	ours := 0
	for _, command := range found {
		t.Log(command)
		if strings.Contains(command.text, "openssl") {
			ours++
		}
		if err := runPrinted(t, command); err != nil {
			t.Errorf("%s: %s: %v", command.where, command.text, err)
		}
	}
	if ours < 5 {
		t.Errorf("%d commands of openssl were found in messages and pages", ours)
	}
}

// runPrinted runs a command on samples of the files that it names, in a folder of its own, and says what harm it does.
func runPrinted(t *testing.T, from printed) error {
	t.Helper()
	command := from.text
	// What is absolute is looked for in the folder.
	command = regexp.MustCompile(`(^|[ >])/+`).ReplaceAllString(strings.NewReplacer("%s", "FILE", "%q", "FILE", "%v", "FILE", "$", "").Replace(command), "$1")
	reads, writes := roles(command)
	name, _, _ := strings.Cut(command, " ")
	if name == "rm" {
		for _, path := range reads {
			if strings.HasSuffix(path, "key") || strings.HasSuffix(path, "key.pem") {
				return fmt.Errorf("removes a key")
			}
		}
		return nil
	}
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CAUASE_REQUIRE_ALL") != "" && name == "openssl" {
			t.Fatal(err)
		}
		return nil
	}
	for _, sample := range sampleKeys(t) {
		dir := t.TempDir()
		for _, path := range reads {
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, path), append([]byte(path+"\n"), sample...), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range writes {
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		// Without a terminal openssl reads the passphrase from standard input.
		cmd := exec.CommandContext(t.Context(), "setsid", "sh", "-c", cmp.Or(from.umask, "umask 022")+"; "+command)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader("passphrase\npassphrase\n")
		out, _ := cmd.CombinedOutput() // whether it makes sense of a sample is another matter
		for _, path := range reads {
			content, err := os.ReadFile(filepath.Join(dir, path))
			if moved := name == "mv" && err != nil; !moved && (err != nil || !bytes.Equal(content, append([]byte(path+"\n"), sample...))) {
				return fmt.Errorf("%s does not hold what it did: %d bytes, %v: %s", path, len(content), err, out)
			}
		}
		for _, path := range append(reads, writes...) {
			content, err := os.ReadFile(filepath.Join(dir, path))
			info, statErr := os.Stat(filepath.Join(dir, path))
			if err == nil && statErr == nil && bytes.Contains(content, []byte("PRIVATE KEY")) && info.Mode().Perm()&0o077 != 0 {
				return fmt.Errorf("others can read the key in %s: %v", path, info.Mode())
			}
		}
	}
	return nil
}

// sampleKeys are a key in the clear and one that is encrypted with "passphrase".
func sampleKeys(t *testing.T) [][]byte {
	t.Helper()
	key, err := pki.DefaultKeyType.Generate()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := pkcs8.MarshalPrivateKey(key, []byte("passphrase"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{plain, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})}
}
