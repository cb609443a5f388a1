package updater

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// owned makes the job one for someone.
func (f *foreign) owned() {
	uid := someone
	f.job.Owner = &uid
}

// look returns what a file is.
func (f *foreign) stat(name string) (uid int, mode fs.FileMode) {
	f.t.Helper()
	info, err := os.Lstat(f.path(name))
	must(f.t, err)
	return int(info.Sys().(*syscall.Stat_t).Uid), info.Mode()
}

// TestFolders: where others can put something else in the place of a file, root does not work, unless
// it is for the owner.
func TestFolders(t *testing.T) {
	f := newForeign(t)
	must(t, os.Chown(f.dir, 0, 0))
	above := f.path("above")
	below := filepath.Join(above, "below")
	must(t, os.MkdirAll(below, 0o755))
	f.job.Crt, f.job.Key, f.job.CSR, f.job.OnRenew = "", "", "", ""
	f.job.CRL = filepath.Join(below, "crl.pem")
	for name, c := range map[string]struct {
		change func()
		reason string // "" if it is fine
	}{
		"of root's":                   {func() {}, ""},
		"that a group of root's can":  {func() { must(t, os.Chmod(below, 0o775)) }, "can be written by group 0 (root)"},
		"that a group can":            {func() { must(t, os.Chown(below, 0, someone)); must(t, os.Chmod(below, 0o775)) }, "can be written by group 54321"},
		"that a group can read":       {func() { must(t, os.Chown(below, 0, someone)); must(t, os.Chmod(below, 0o750)) }, ""},
		"that everybody can":          {func() { must(t, os.Chmod(below, 0o777)) }, "can be written by everybody"},
		"like /tmp":                   {func() { must(t, os.Chmod(below, 0o777|fs.ModeSticky)) }, "can be written by everybody"},
		"of someone's":                {func() { must(t, os.Chown(below, someone, 0)) }, "belongs to user 54321"},
		"of someone's, closed":        {func() { must(t, os.Chown(below, someone, 0)); must(t, os.Chmod(below, 0o500)) }, "belongs to user 54321"},
		"below one of someone's":      {func() { must(t, os.Chown(above, someone, 0)) }, "belongs to user 54321"},
		"below one for everybody":     {func() { must(t, os.Chmod(above, 0o777)) }, "above can be written by everybody"},
		"below one like /tmp":         {func() { must(t, os.Chmod(above, 0o777|fs.ModeSticky)) }, ""},
		"of someone's in one as /tmp": {func() { must(t, os.Chmod(above, 0o777|fs.ModeSticky)); must(t, os.Chown(below, someone, 0)) }, "below belongs to user 54321"},
		"that is a link": {func() {
			must(t, os.Rename(below, below+".real"))
			must(t, os.Symlink("below.real", below))
		}, "is a symbolic link"},
		"that is not there yet, in someone's": {func() { must(t, os.Remove(below)); must(t, os.Chown(above, someone, 0)) }, "belongs to user 54321"},
		"that is not there yet":               {func() { must(t, os.Remove(below)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.RemoveAll(above))
			must(t, os.MkdirAll(below, 0o755))
			c.change()
			_, looked := Look(f.o, []Job{f.job})
			_, once := Once(t.Context(), f.o, []Job{f.job})
			a := New(f.o)
			if c.reason != "" && a.Replace([]Job{f.job}) == nil {
				t.Error("a configuration with it is accepted")
			}
			for _, err := range []error{looked, once} {
				switch {
				case c.reason == "" && err != nil && !errors.Is(err, fs.ErrNotExist):
					t.Error(err)
				case c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), f.job.CRL) && !strings.Contains(err.Error(), "link")):
					t.Errorf("%v, want …%s…", err, c.reason)
				}
			}
		})
	}
}

// TestOwnersProcess: with an owner, a job in their folder gets its certificate, renews it, mends its files and runs
// its hook, all as that user, who gets nothing of root's.
func TestOwnersProcess(t *testing.T) {
	t.Setenv("A_SECRET_OF_ROOT", "hunter2")
	f := newForeign(t)
	// A file that somebody has left open for whatever the agent starts.
	leak := f.secret("left-open", nil)
	open, err := os.Open(leak)
	must(t, err)
	defer open.Close()
	_, err = unix.FcntlInt(open.Fd(), unix.F_SETFD, 0)
	must(t, err)
	f.owned()
	f.give(f.dir)
	f.job.OnRenew = filepath.Join(filepath.Dir(f.dir), "hook")
	must(t, os.WriteFile(f.job.OnRenew, []byte("#!/bin/sh\n(id -u; id -G; env; ls -l /proc/$$/fd; ulimit -d; ulimit -c; cat /proc/self/oom_score_adj) > "+f.path("hears")+"\nmv "+f.path("hears")+" "+f.path("heard")+"\n"), 0o755))
	must(t, f.serve(func(a *Agent) {
		f.within("ok", f.isOK(a))
		f.within("hook", func() bool { s := a.Statuses()[0]; return s.Counts.Hooks > 0 && len(s.Hook.Pending) == 0 })
		first := f.read("web.crt")
		must(t, os.Remove(f.path("web.crt")))
		f.within("mended", func() bool { content, _ := os.ReadFile(f.path("web.crt")); return bytes.Equal(content, first) })
	}))
	entries, err := os.ReadDir(f.dir)
	must(t, err)
	for _, e := range entries {
		if uid, mode := f.stat(e.Name()); uid != someone || e.Name() != "web.crt" && strings.HasPrefix(e.Name(), ".") && mode.Perm() != 0o600 {
			t.Errorf("%s: %v of %d", e.Name(), mode, uid)
		}
	}
	heard := string(f.read("heard"))
	if !strings.HasPrefix(heard, "54321\n54321\n") || strings.Contains(heard, "hunter2") || strings.Contains(heard, leak) {
		t.Errorf("the hook has\n%s", heard)
	}
	if !strings.HasSuffix(heard, "\n2097152\n0\n1000\n") {
		t.Errorf("the hook has the bounds\n%s", heard)
	}
	if !strings.Contains(f.log.String(), "certificate issued") || !strings.Contains(f.log.String(), "user=54321") {
		t.Errorf("log:\n%s", f.log)
	}

	// From cron, and for a look.
	all, err := Once(t.Context(), f.o, []Job{f.job})
	if err != nil || len(all) != 1 || all[0].State != StateOK || all[0].Certificate == nil {
		t.Errorf("once: %+v, %v", all, err)
	}
	t.Chdir(f.dir)
	relative := f.job
	for _, path := range []*string{&relative.Crt, &relative.Key, &relative.CSR, &relative.CA, &relative.CRL} {
		*path = filepath.Base(*path)
	}
	if all, err = Look(f.o, []Job{relative}); err != nil || all[0].State != StateOK || all[0].Certificate.File != "web.crt" {
		t.Errorf("status: %+v, %v", all, err)
	}
	f.noSecrets()
}

// TestOwnersTricks: what an owner puts in the place of files is read and written with their rights, and so
// gets them nothing.
func TestOwnersTricks(t *testing.T) {
	const secret = "correct horse battery staple"
	for name, trick := range map[string]func(f *foreign, of string){
		"link":      func(f *foreign, of string) { must(f.t, os.Symlink(f.secret("s", []byte(secret)), of)) },
		"hard link": func(f *foreign, of string) { must(f.t, os.Link(f.secret("s", []byte(secret)), of)) },
		"FIFO":      func(f *foreign, of string) { must(f.t, syscall.Mkfifo(of, 0o600)); must(f.t, os.Chown(of, someone, 0)) },
		"device":    func(f *foreign, of string) { must(f.t, syscall.Mknod(of, syscall.S_IFCHR|0o666, 1<<8|3)) }, // null
		"folder":    func(f *foreign, of string) { must(f.t, os.Mkdir(of, 0o755)) },
	} {
		for _, file := range []string{"web.crt", "web.key", "web.csr", "ca.pem", "crl.pem", ".web.crt.lock", ".web.crt.updater.json", ".web.key.key.next"} {
			t.Run(name+" as "+file, func(t *testing.T) {
				t.Parallel()
				f := newForeign(t)
				f.owned()
				if exists(f.path(file)) {
					must(t, os.Remove(f.path(file)))
				}
				trick(f, f.path(file))
				all, err := Once(t.Context(), f.o, []Job{f.job})
				if name != "folder" && strings.HasPrefix(file, "web") && (err == nil && all[0].State == StateOK) {
					t.Error("all is well")
				}
				text, _ := json.Marshal(all)
				state, _ := pemfile.Read(f.job.statePath())
				if f.leaked([]byte(secret)) || bytes.Contains(text, []byte("horse")) || bytes.Contains(state, []byte("horse")) && name != "hard link" && name != "link" || strings.Contains(f.log.String(), "horse") {
					t.Errorf("disclosed: %s\n%s", text, f.log)
				}
				if content, err := os.ReadFile(filepath.Join(f.private, "s")); err == nil && string(content) != secret {
					t.Errorf("root's file holds %q", content)
				}
			})
		}
	}
}

// TestRace: whoever exchanges files, links and folders all the time while the agent is at work for the owner does not get it
// to read or write what only root can.
func TestRace(t *testing.T) {
	f := newForeign(t)
	f.owned()
	roots, key := f.rootsPair()
	f.job.Crt, f.job.Key, f.job.CSR = f.path("in/web.pem"), "", ""
	f.job.CA, f.job.CRL = f.path("in/ca.pem"), f.path("in/crl.pem")
	must(t, os.Mkdir(f.path("in"), 0o755))
	f.give(f.dir)
	must(t, os.Chmod(f.private, 0o711))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Remove(f.job.Crt)
			switch i % 4 {
			case 0:
				_ = os.Symlink(roots, f.job.Crt)
			case 1:
				_ = os.Rename(f.path("in"), f.path("out"))
				_ = os.Symlink(f.private, f.path("in"))
				time.Sleep(time.Millisecond)
				_ = os.Remove(f.path("in"))
				_ = os.Rename(f.path("out"), f.path("in"))
			case 2:
				_ = os.Link(roots, f.job.Crt)
			default:
				_ = os.WriteFile(f.job.Crt, nil, 0o600)
				_ = os.Lchown(f.job.Crt, someone, someone)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for range 15 {
		if _, err := Once(t.Context(), f.o, []Job{f.job}); err != nil && !strings.Contains(err.Error(), "link") && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "no such file") {
			t.Log(err)
		}
	}
	close(stop)
	<-stopped
	f.leaked(key)
	entries, err := os.ReadDir(f.private)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("in root's folder: %v", entries)
	}
	if content, err := os.ReadFile(roots); err != nil || !bytes.HasPrefix(content, key) {
		t.Errorf("root's file has changed: %v", err)
	}
}

// TestUnsafeHook: a program that others can change is not run by root, nor one of somebody else's by an owner.
func TestUnsafeHook(t *testing.T) {
	f := newForeign(t)
	hook := f.path("hook")
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\ntouch "+f.path("pwned")+"\n"), 0o755))
	must(t, os.Chown(f.dir, 0, 0))
	run := func() error {
		return runHook(t.Context(), HookRun{Path: hook, Timeout: time.Minute, Log: f.o.Log})
	}
	for name, c := range map[string]struct {
		change func()
		safe   bool
	}{
		"root's":                   {func() {}, true},
		"someone's":                {func() { must(t, os.Chown(hook, someone, 0)) }, false},
		"for everybody to write":   {func() { must(t, os.Chmod(hook, 0o777)) }, false},
		"for a group to write":     {func() { must(t, os.Chown(hook, 0, someone)); must(t, os.Chmod(hook, 0o775)) }, false},
		"in a folder of someone's": {func() { must(t, os.Chown(f.dir, someone, 0)) }, false},
		"a link in root's folder":  {func() { must(t, os.Rename(hook, hook+".real")); must(t, os.Symlink("hook.real", hook)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.change()
			if err := run(); (err == nil) != c.safe || !c.safe && !errors.Is(err, pemfile.ErrExposed) {
				t.Error(err)
			}
			if exists(f.path("pwned")) != c.safe {
				t.Errorf("it has run: %v", !c.safe)
			}
			_ = os.Remove(f.path("pwned"))
			_ = os.Remove(hook)
			_ = os.Remove(hook + ".real")
			must(t, os.WriteFile(hook, []byte("#!/bin/sh\ntouch "+f.path("pwned")+"\n"), 0o755))
			must(t, os.Chown(f.dir, 0, 0))
		})
	}
}

// TestOwnerCannotStopAgent: an owner who stops or kills the process hurts nobody else, and it comes back.
func TestOwnerCannotStopAgent(t *testing.T) {
	f := newForeign(t)
	f.owned()
	children := func() (pids []int) {
		all, err := os.ReadDir("/proc")
		must(t, err)
		for _, e := range all {
			pid, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
			_, rest, _ := strings.Cut(string(stat), ") ")
			if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
				if info, err := os.Stat("/proc/" + e.Name()); err == nil && info.Sys().(*syscall.Stat_t).Uid == someone {
					pids = append(pids, pid)
				}
			}
		}
		return pids
	}
	must(t, f.serve(func(a *Agent) {
		f.within("ok", f.isOK(a))
		first := children()
		if len(first) != 1 {
			t.Fatalf("processes %v", first)
		}
		args, err := os.ReadFile("/proc/" + strconv.Itoa(first[0]) + "/cmdline")
		if err != nil || strings.Contains(string(args), f.dir) {
			t.Errorf("its command line is %q, %v", args, err)
		}
		must(t, syscall.Kill(first[0], syscall.SIGKILL))
		f.within("notice", func() bool { return a.Statuses()[0].State != StateOK })
		f.within("again", f.isOK(a))
		if again := children(); len(again) != 1 || again[0] == first[0] {
			t.Errorf("processes %v", again)
		}
		if !a.Alive(0) {
			t.Error("the agent is taken for dead")
		}
	}))
	if left := children(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestSilentProcess: a process that says nothing for long is no longer believed.
func TestSilentProcess(t *testing.T) {
	h := newHost(t, t.TempDir())
	uid := someone
	h.job.Owner = &uid
	r := newRemote(&h.job, h.o)
	r.take(report{Status: &Status{State: StateOK}})
	if r.latest().State != StateOK {
		t.Error("it has just said so")
	}
	r.beat.Store(time.Now().Add(-aliveWithin - time.Second).Unix())
	if s := r.latest(); s.State != StateBlocked || len(s.Problems) != 1 {
		t.Errorf("%+v", s)
	}
}

// TestReports: an owner can make the process say anything, and none of it ends the agent, fills its memory or its log,
// or is taken for what other jobs say.
func TestReports(t *testing.T) {
	h := newHost(t, t.TempDir())
	uid := someone
	h.job.Owner = &uid
	r := newRemote(&h.job, h.o)
	for name, text := range map[string]string{
		"no JSON":         "hello\n",
		"unknown members": `{"Log":{"Level":"INFO","Message":"x","More":1}}` + "\n",
		"twice":           `{"Error":"a","Error":"b"}` + "\n",
		"long":            `{"Error":"` + strings.Repeat("x", maxReport) + `"}` + "\n",
	} {
		if err := readReports(strings.NewReader(text), func(report) { t.Errorf("%s: taken", name) }); !errors.Is(err, errReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := func() *Status {
		return &Status{State: StateOK, CAs: []EndStatus{{KeyID: "aa"}}, Certificate: &CertificateStatus{Subject: "CN=a\x1b[2J"}, Problems: []Problem{{Task: TaskRenew, Message: "a\nb"}}}
	}
	for name, change := range map[string]func(*Status){
		"state":   func(s *Status) { s.State = "wonderful" },
		"task":    func(s *Status) { s.Problems[0].Task = "x" },
		"twice":   func(s *Status) { s.CAs = append(s.CAs, s.CAs[0]) },
		"many":    func(s *Status) { s.CRLs = make([]EndStatus, maxList+1) },
		"word":    func(s *Status) { s.Hook.Pending = []string{"$(id)"} },
		"failure": func(s *Status) { s.Counts.Failures = map[Task]int{"x": 1} },
	} {
		s := good()
		if change(s); s.admit(&h.job) {
			t.Errorf("%s: admitted", name)
		}
	}
	s := good()
	s.Name = "another"
	if !s.admit(&h.job) || s.Name != "web" || s.CAs[0].File != h.job.CA || s.Certificate.File != h.job.Crt ||
		pki.EscapeText(s.Certificate.Subject+s.Problems[0].Message) != s.Certificate.Subject+s.Problems[0].Message {
		t.Errorf("%+v", s)
	}
	for range 10 * budgetLines {
		r.take(report{Log: &logLine{Message: "a\x1b\nb" + strings.Repeat("c", 3*maxText), Attrs: slices.Repeat([][2]string{{"x", "y"}}, 100)}})
	}
	if n := h.log.lines(); n > budgetLines+10 || len(h.log.String()) > (budgetLines+10)*(maxText+1000) || strings.Contains(h.log.String(), "\x1b") {
		t.Errorf("%d lines of %d bytes", n, len(h.log.String()))
	}
}

// TestServeSeparated: what the agent starts for an owner is of no use to anybody else.
func TestServeSeparated(t *testing.T) {
	uid := os.Geteuid()
	for name, owner := range map[string]*int{"none": nil, "root": new(int), "another": func() *int { u := uid + 1; return &u }()} {
		if err := onlyOwner(&Job{Owner: owner}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := unix.FcntlInt(reportsFD, unix.F_GETFD, 0); err != nil {
		if err := serveSeparated(h0{}); err == nil {
			t.Error("without an agent")
		}
	}
}

type h0 struct{}

func (h0) Now() time.Time { return time.Time{} }

// TestFolderChangesHands: a running agent whose folders become those of others stops touching them, says so, and goes on by
// itself when they are safe again or, with an owner, as that user.
func TestFolderChangesHands(t *testing.T) {
	f := newForeign(t)
	must(t, os.Chown(f.dir, 0, 0))
	for _, name := range []string{"web.key", "web.csr"} {
		must(t, os.Chown(f.path(name), 0, 0))
	}
	f.o.poll = 100 * time.Millisecond
	says := func(a *Agent, text string) func() bool {
		return func() bool {
			all := a.Statuses()
			return len(all) == 1 && all[0].State == StateBlocked && strings.Contains(all[0].Problems[0].Message, text) && all[0].Problems[0].Hint != ""
		}
	}
	must(t, f.serve(func(a *Agent) {
		f.within("ok", f.isOK(a))
		for says1, change := range map[string]func(undo bool){
			"belongs to user 54321": func(undo bool) {
				if undo {
					must(t, os.Chown(f.dir, 0, 0))
				} else {
					must(t, os.Chown(f.dir, someone, 0))
				}
			},
			"can be written by everybody": func(undo bool) {
				if undo {
					must(t, os.Chmod(f.dir, 0o755))
				} else {
					must(t, os.Chmod(f.dir, 0o777|fs.ModeSticky))
				}
			},
		} {
			change(false)
			f.within(says1, says(a, says1))
			before := f.read("crl.pem")
			must(t, os.Remove(f.path("crl.pem")))
			time.Sleep(300 * time.Millisecond)
			if exists(f.path("crl.pem")) {
				t.Error("root writes in the folder of another user")
			}
			f.write("crl.pem", before)
			change(true)
			f.within("ok again", f.isOK(a))
		}
	}))
	f.owned()
	must(t, f.serve(func(a *Agent) {
		f.within("ok", f.isOK(a))
		children := func() int {
			n := 0
			for _, line := range strings.Split(f.log.String(), "\n") {
				if strings.Contains(line, "user=54321") {
					n++
				}
			}
			return n
		}
		before := children()
		f.give(f.dir)
		must(t, os.Remove(f.path("web.crt")))
		f.within("the owner takes over", func() bool { return exists(f.path("web.crt")) && children() > before })
		if uid, _ := f.stat("web.crt"); uid != someone {
			t.Errorf("the certificate belongs to %d", uid)
		}
		f.within("ok as the owner", f.isOK(a))
	}))
}
