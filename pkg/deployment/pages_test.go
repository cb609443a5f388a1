package deployment

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// A fence is a block of a page that stands between lines of backticks.
type fence struct {
	page string
	line int    // of its first line
	info string // what stands behind the backticks
	text string
}

// fences returns the blocks of a page.
func fences(t *testing.T, page string) (found []fence) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, page))
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, line := range strings.Split(string(content), "\n") {
		info, mark := strings.CutPrefix(line, "```")
		switch {
		case mark && !inside:
			found = append(found, fence{page: page, line: i + 2, info: info})
			inside = true
		case mark:
			inside = false
		case inside:
			found[len(found)-1].text += line + "\n"
		}
	}
	if inside {
		t.Fatalf("%s: the block that begins in line %d does not end", page, found[len(found)-1].line-1)
	}
	return found
}

// pages are those of the manual, and the README.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md", "SECURITY.md"}
	more, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil || len(more) < 10 {
		t.Fatal(more, err)
	}
	for _, page := range more {
		all = append(all, filepath.Join("docs", filepath.Base(page)))
	}
	return all
}

// TestPageTour makes the README's tour, command by command, as its readers do.
func TestPageTour(t *testing.T) {
	need(t, "bash", "bash")
	need(t, "openssl", "openssl")
	need(t, "make", "make")
	dir := t.TempDir()
	port := testkit.FreePorts(t, 2)
	// Elsewhere than in the repository, with what is built already.
	makefile, err := filepath.Abs(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("make", "--no-print-directory", "-f", makefile,
		"run", "GO=true", "BIN="+bin, fmt.Sprintf("NETLOC=127.0.0.1:%d", port))
	daemon.Dir = dir
	var log testkit.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-daemon.Process.Pid, syscall.SIGTERM) // make and the daemon
		_ = daemon.Wait()
	})

	var script strings.Builder
	script.WriteString("export BASH_ENV=\n")
	expected := 0
	for _, block := range fences(t, "README.md") {
		if block.info != "sh" {
			continue
		}
		for _, command := range commands(block.text) {
			if command == "make run" {
				continue // above
			}
			expected++
			script.WriteString(command + "\necho \"@@ $?\"\n")
		}
	}
	if expected < 20 {
		t.Fatalf("the tour has %d commands only", expected)
	}
	select {
	case <-log.Contains("Next, become the first user"):
	case <-time.After(2 * time.Minute):
		t.Fatalf("the daemon has not started:\n%s", &log)
	}
	text := strings.NewReplacer("127.0.0.1:8009", fmt.Sprintf("127.0.0.1:%d", port), `"$PWD/bin:$PATH"`, `"`+bin+`:$PATH"`).Replace(script.String())
	shell := exec.Command("bash")
	shell.Dir, shell.Stdin = dir, strings.NewReader(text)
	out, err := shell.CombinedOutput()
	if err != nil && shell.ProcessState.ExitCode() < 0 {
		t.Fatal(err)
	}

	// What the page says of the results: the first request is pending (2), and openssl refuses what was revoked.
	pending, refused := 0, 0
	results := regexp.MustCompile(`(?m)^@@ (\d+)$`).FindAllStringSubmatch(string(out), -1)
	if len(results) != expected {
		t.Fatalf("%d results of %d commands:\n%s", len(results), expected, out)
	}
	for i, result := range results {
		command := commandAt(script.String(), i)
		switch {
		case result[1] == "0":
		case result[1] == "2" && strings.HasPrefix(command, "cauase request") && pending == 0:
			pending++
		case strings.Contains(command, "# fails: certificate revoked") && strings.Contains(string(out), "certificate revoked"):
			refused++
		default:
			t.Errorf("%s: exit code %s", command, result[1])
		}
	}
	if pending != 1 || refused != 1 || t.Failed() {
		t.Errorf("%d requests were pending, %d certificates refused:\n%s\nthe daemon:\n%s", pending, refused, out, log.String())
	}
}

// commandAt returns the command of a script that gave result number i.
func commandAt(script string, i int) string {
	parts := strings.Split(script, "\necho \"@@ $?\"\n")
	return strings.TrimPrefix(parts[i], "export BASH_ENV=\n")
}

// commands are those of a block: lines, with those that they are continued in.
func commands(text string) (all []string) {
	var command strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		command.WriteString(line)
		if strings.HasSuffix(line, `\`) {
			command.WriteByte('\n')
			continue
		}
		if text := command.String(); strings.TrimSpace(text) != "" {
			all = append(all, text)
		}
		command.Reset()
	}
	return all
}

// TestPageCommandsExist: what the manual has people type, our tools know. Commands are looked for in blocks, and in
// what stands between backticks.
func TestPageCommandsExist(t *testing.T) {
	tools, err := makefileTools()
	if err != nil {
		t.Fatal(err)
	}
	help := helpOf{}
	checked := 0
	check := func(page string, line int, text string) {
		for _, words := range callsOf(text, tools) {
			checked++
			if problem := help.check(t, words); problem != "" {
				t.Errorf("%s:%d: %s: %s", page, line, strings.Join(words, " "), problem)
			}
		}
	}
	for _, page := range pages(t) {
		if page == "docs/architecture.md" || page == "docs/backup-format.md" {
			continue // for those who write programs
		}
		for _, block := range fences(t, page) {
			if slices.Contains([]string{"json", "toml", "sql", "haproxy config", "nginx config"}, block.info) {
				continue
			}
			for _, command := range commands(block.text) {
				check(page, block.line, command)
			}
		}
		content, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(content), "\n") {
			for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
				check(page, i+1, code[1])
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d commands were found", checked)
	}
}

// callsOf returns the calls of our tools in a command line, in words.
func callsOf(text string, tools map[string]string) (calls [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	if i := strings.Index(text, " #"); i >= 0 {
		text = text[:i]
	}
	text = strings.ReplaceAll(text, "sudo -u cauase ", "")
	text = strings.ReplaceAll(text, "sudo ", "")
	for _, part := range regexp.MustCompile(`&&|\|\||[|;&()]|\$\(`).Split(text, -1) {
		words := strings.Fields(part)
		for len(words) > 0 && isPrefix(words[0]) {
			words = words[1:]
		}
		if len(words) == 0 {
			continue
		}
		words[0] = filepath.Base(words[0])
		if _, ours := tools[words[0]]; ours && len(words) > 1 {
			calls = append(calls, words)
		}
	}
	return calls
}

// isPrefix reports whether a word stands before the name of the program that is called.
func isPrefix(word string) bool {
	return slices.Contains([]string{"$", "exec", "nohup", "!", "if"}, word) ||
		regexp.MustCompile(`^[A-Z_]+=`).MatchString(word)
}

// helpOf has the help of each command, by its words.
type helpOf map[string]string

func (h helpOf) of(t *testing.T, words []string) string {
	key := strings.Join(words, " ")
	if text, known := h[key]; known {
		return text
	}
	out, err := exec.Command(filepath.Join(bin, words[0]), append(slices.Clone(words[1:]), "--help")...).Output()
	if err != nil {
		t.Errorf("%s --help: %v", key, err)
	}
	h[key] = string(out)
	return h[key]
}

// check says what is wrong with a call, nothing if it is nothing.
func (h helpOf) check(t *testing.T, words []string) string {
	called := words[:1]
	known := h.of(t, called)
	for _, word := range words[1:] {
		name, isFlag := strings.CutPrefix(word, "--")
		name, _, _ = strings.Cut(strings.Trim(name, `"'.,…`), "=")
		switch {
		case isFlag && name == "":
			continue // an ellipsis, or all that follows are arguments
		case isFlag:
			if !strings.Contains(known, "--"+name) {
				return "there is no --" + name
			}
			continue
		case strings.HasPrefix(word, "-"):
			continue
		}
		verbs := verbsOf(h.of(t, called))
		if word == "help" || word == "version" {
			continue // of every tool, and of every command
		}
		if len(verbs) == 0 || !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(word) {
			continue
		}
		if slices.Contains(verbs, word) {
			called = append(slices.Clone(called), word)
			known += h.of(t, called)
		} else if !isValue(words, word) {
			return "there is no command " + word
		}
	}
	return ""
}

// isValue reports whether a word is, or may be, the value of the option before it.
func isValue(words []string, word string) bool {
	i := slices.Index(words, word)
	return i > 0 && strings.HasPrefix(words[i-1], "-")
}

// verbsOf are the commands that a help lists.
func verbsOf(help string) (verbs []string) {
	_, list, found := strings.Cut(help, "\nCOMMANDS:\n")
	if !found {
		return nil
	}
	for line := range strings.Lines(list) {
		if strings.TrimSpace(line) == "" {
			break
		}
		if fields := strings.Fields(line); strings.HasPrefix(line, "   ") && !strings.HasPrefix(line, "     ") {
			for _, name := range fields {
				verbs = append(verbs, strings.TrimSuffix(name, ","))
				if !strings.HasSuffix(name, ",") {
					break
				}
			}
		}
	}
	return verbs
}
