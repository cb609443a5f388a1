package deployment

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func files(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		found[strings.TrimPrefix(path, dir)] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestInstall(t *testing.T) {
	need(t, "make", "make")
	dir := t.TempDir()
	stage := filepath.Join(dir, "stage")
	install := func(verb string) {
		t.Helper()
		must(t, repository, "make", verb, "BIN="+bin, "DESTDIR="+stage, "PREFIX=/opt/cauase")
	}
	install("install")
	got := files(t, stage)
	tools, err := makefileTools()
	if err != nil {
		t.Fatal(err)
	}
	for tool := range tools {
		section := "1"
		if tool == "cauased" || tool == "cauase-updater" {
			section = "8"
		}
		for path, mode := range map[string]fs.FileMode{
			"/bin/" + tool: 0o755,
			"/share/man/man" + section + "/" + tool + "." + section: 0o644,
			"/share/bash-completion/completions/" + tool:            0o644,
			"/share/zsh/site-functions/_" + tool:                    0o644,
			"/share/fish/vendor_completions.d/" + tool + ".fish":    0o644,
		} {
			if got["/opt/cauase"+path] != mode {
				t.Errorf("%s has mode %v, want %v", path, got["/opt/cauase"+path], mode)
			}
		}
		page, err := os.ReadFile(filepath.Join(stage, "opt/cauase/share/man/man"+section, tool+"."+section))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), ".TH "+strings.ReplaceAll(strings.ToUpper(tool), "-", `\-`)+" "+section) || strings.Contains(string(page), dir) || strings.Contains(string(page), bin) {
			t.Errorf("manual page of %s:\n%s", tool, page)
		}
	}
	for _, unit := range []string{"cauased.service", "cauase-updater.service", "cauase-updater@.service"} {
		content, err := os.ReadFile(filepath.Join(stage, "opt/cauase/lib/systemd/system", unit))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), "ExecStart=/opt/cauase/bin/") || strings.Contains(string(content), stage) {
			t.Errorf("%s starts something else:\n%s", unit, content)
		}
	}
	before := contents(t, stage)
	install("install")
	if !slices.Equal(before, contents(t, stage)) {
		t.Error("installed once more, files are other ones")
	}
	install("uninstall")
	if left := files(t, stage); len(left) > 0 {
		t.Errorf("uninstalled, there still are %v", left)
	}
}

// contents are the documents, to compare.
func contents(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for path := range files(t, dir) {
		if strings.Contains(path, "/bin/") {
			continue
		}
		content, err := os.ReadFile(dir + path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, path+"\n"+string(content))
	}
	slices.Sort(all)
	return all
}

// Exposure, in tenths, that systemd-analyze security may find at most. It falls when a unit
// gives up a right, and may not rise unnoticed.
var exposure = map[string]string{
	"cauased.service":                "12",
	"cauase-updater.service":         "25",
	"cauase-updater@example.service": "25",
}

func TestUnits(t *testing.T) {
	need(t, "make", "make")
	analyze := need(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	must(t, repository, "make", "install", "BIN="+bin, "PREFIX="+dir)
	// A tool that is not built yet is not what is looked at here.
	if _, err := os.Stat(filepath.Join(dir, "bin", "cauase-updater")); err != nil {
		write(t, filepath.Join(dir, "bin", "cauase-updater"), "#!/bin/sh\n", 0o755)
	}
	for unit, limit := range exposure {
		path := filepath.Join(dir, "lib/systemd/system", unit)
		if template := strings.Replace(path, "@example", "@", 1); template != path {
			if err := os.Link(template, path); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(unit, func(t *testing.T) {
			if out, err := try(dir, analyze, "verify", "--man=no", path); err != nil || out != "" {
				t.Errorf("%s%v", out, err)
			}
			out, err := try(dir, analyze, "security", "--no-pager", "--offline=true", "--threshold="+limit, path)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			t.Log(lines[len(lines)-1])
			if err != nil {
				t.Error(err)
			}
		})
	}
}
