//go:build linux

package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"cauase/pkg/pemfile"
	"cauase/pkg/testkit"

	_ "modernc.org/sqlite"
)

// A lan is a network of machines of its own: a network namespace each, and one with a bridge between them, in which the daemon is. What runs
// in them has names, SSH host keys and a /run of its own, too.
type lan struct {
	t        *testing.T
	ip       string // the program
	dir      string
	prefix   string // of the names of the namespaces
	machines []*machine
}

// A machine is a namespace, and what is in it.
type machine struct {
	lan     *lan
	space   string // name of the namespace
	name    string // of the machine
	address string
	dir     string // its files
}

// newLAN makes a network with so many machines beside the daemon's.
func newLAN(t *testing.T, count int) *lan {
	t.Helper()
	l := &lan{t: t, ip: testkit.Need(t, "ip", "iproute2"), dir: t.TempDir(), prefix: fmt.Sprintf("cauase-%d-", os.Getpid())}
	testkit.Need(t, "unshare", "util-linux")
	if os.Geteuid() != 0 || !l.mayMakeSpaces() {
		if os.Getenv(requireAll) == "1" {
			t.Fatalf("network namespaces cannot be made, and %s is set: they take root and CAP_SYS_ADMIN", requireAll)
		}
		t.Skip("NOT TESTED: network namespaces cannot be made, they take root and CAP_SYS_ADMIN")
	}
	t.Cleanup(func() {
		for _, m := range l.machines {
			_ = exec.Command(l.ip, "netns", "del", m.space).Run()
		}
	})
	hub := l.add("ca.fleet.example", "10.99.0.254")
	hub.link("link add hub type bridge", "link set hub up", "addr add 10.99.0.254/24 dev hub")
	for i := range count {
		m := l.add(fmt.Sprintf("host%02d.fleet.example", i+1), fmt.Sprintf("10.99.0.%d", i+1))
		port := fmt.Sprintf("port%d", i+1)
		m.link("link add eth0 type veth peer name "+port+" netns "+hub.space, "addr add "+m.address+"/24 dev eth0", "link set eth0 up")
		hub.link("link set " + port + " master hub up")
	}
	return l
}

// mayMakeSpaces reports whether a namespace can be made: in some containers root cannot.
func (l *lan) mayMakeSpaces() bool {
	probe := l.prefix + "probe"
	made := exec.Command(l.ip, "netns", "add", probe).Run() == nil
	return made && exec.Command(l.ip, "netns", "del", probe).Run() == nil
}

func (l *lan) add(name, address string) *machine {
	l.t.Helper()
	m := &machine{lan: l, space: l.prefix + fmt.Sprint(len(l.machines)), name: name, address: address, dir: filepath.Join(l.dir, name)}
	if err := os.MkdirAll(filepath.Join(m.dir, "ssh"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if out, err := exec.Command(l.ip, "netns", "add", m.space).CombinedOutput(); err != nil {
		l.t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	l.machines = append(l.machines, m)
	m.link("link set lo up")
	return m
}

// link does what lines of ip say about the machine's network.
func (m *machine) link(lines ...string) {
	m.lan.t.Helper()
	cmd := exec.Command(m.lan.ip, "-n", m.space, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.lan.t.Fatalf("%s: %q: %v\n%s", m.name, lines, err, out)
	}
}

func (l *lan) hub() *machine     { return l.machines[0] }
func (l *lan) hosts() []*machine { return l.machines[1:] }

// command is a line of a shell that runs on the machine. All programs of the chain become the next, so that what ends the process ends the last.
func (m *machine) command(line string) *exec.Cmd {
	set := fmt.Sprintf("mount -t tmpfs tmpfs /run && mkdir -m 0755 /run/sshd && mount --bind %s/ssh /etc/ssh && hostname %s && cd %s && ", m.dir, m.name, m.dir)
	cmd := exec.Command(m.lan.ip, "netns", "exec", m.space, "unshare", "--mount", "--uts", "sh", "-c", set+line)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+m.dir, "CAUASE_CA_URL=http://"+m.lan.hub().address, "CAUASE_STORE="+m.dir)
	return cmd
}

// here is what a page says, about files of the machine.
func (m *machine) here(text string) string {
	for _, folder := range []string{"/etc/cauase/", "/etc/ssl/", "/etc/factory/"} {
		text = strings.ReplaceAll(text, folder, m.dir+"/")
	}
	return text
}

func (m *machine) write(name, content string) {
	m.lan.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(content), 0o600); err != nil {
		m.lan.t.Fatal(err)
	}
}

// pageOf returns the blocks of a page of the manual, by what stands behind their backticks.
func pageOf(t *testing.T, name string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+ \\w+)\n(.*?\n)```$").FindAllStringSubmatch(string(content), -1) {
		blocks[block[1]] = block[2]
	}
	return blocks
}

// try runs a line and returns what it has written, and its exit code.
func (m *machine) try(line string) (string, int) {
	cmd := m.command(line)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (m *machine) run(line string) string {
	m.lan.t.Helper()
	out, code := m.try(line)
	if code != 0 {
		m.lan.t.Fatalf("%s: %s: exit code %d\n%s", m.name, line, code, out)
	}
	return out
}

// start has a line go on beside the test. It has to begin with exec.
func (m *machine) start(line string) *testkit.Buffer {
	m.lan.t.Helper()
	cmd, out := m.command(line), &testkit.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		m.lan.t.Fatal(err)
	}
	m.lan.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return out
}

// await returns once something has been written.
func await(t *testing.T, out *testkit.Buffer, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	select {
	case <-out.Contains(text):
	case <-ctx.Done():
		t.Fatalf("nothing says %q:\n%s", text, out)
	}
}

// each runs something for each host, some at a time.
func (l *lan) each(do func(*machine)) {
	var all sync.WaitGroup
	free := make(chan struct{}, 4)
	for _, m := range l.hosts() {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			do(m)
		})
	}
	all.Wait()
}

// TestHostsHaveTheirOwnNames: of fifty hosts with OpenSSH, whose keys were listed once by ssh-keyscan, each gets a certificate for its name with one command; no secret
// was handed out, and nobody had to look. Nobody gets the name of another, or has a key that is not listed.
func TestHostsHaveTheirOwnNames(t *testing.T) {
	sshd := testkit.Need(t, "sshd", "openssh-server")
	testkit.Need(t, "ssh-keygen", "openssh-client")
	testkit.Need(t, "ssh-keyscan", "openssh-client")
	const count = 50
	l := newLAN(t, count+1)
	page := pageOf(t, "host-names.md")
	last := l.hosts()[count] // came after the scan, and has a host certificate

	config := filepath.Join(l.dir, "sshd_config")
	if err := os.WriteFile(config, []byte("UsePAM no\nPidFile none\nAuthorizedKeysFile none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.each(func(m *machine) {
		m.run("ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key")
		out := m.start(fmt.Sprintf("exec %s -D -e -f %s -h /etc/ssh/ssh_host_ed25519_key", sshd, config))
		await(t, out, "Server listening")
	})

	// The list of an operator: who they are is what the network says on the day that it is made.
	var list strings.Builder
	for _, m := range l.hosts()[:count] {
		fmt.Fprintf(&list, "%s %s\n", m.address, m.name)
	}
	hub := l.hub()
	hub.write("hosts", list.String())
	hub.run(hub.here(page["sh scan"]))
	hub.run("ssh-keygen -q -t ed25519 -N '' -f ca && cp ca.pub ssh_host_ca.pub")
	hub.run("ssh-keygen -q -s ca -h -I last -n " + last.name + " -V -1h:+1d " + last.dir + "/ssh/ssh_host_ed25519_key.pub")
	if known, err := os.ReadFile(filepath.Join(hub.dir, "known_hosts")); err != nil || strings.Count(string(known), " ssh-ed25519 ") != count {
		t.Fatalf("known_hosts: %v\n%s", err, known)
	}
	hub.write("cauased.toml", hub.here(page["toml ssh"]+page["toml others"]))
	daemon := hub.start("exec cauased --netloc " + hub.address + " --db cauase.sqlite --server-key server.key.pem --cors-key-store cors.key --config cauased.toml")
	await(t, daemon, "listening:")

	l.each(func(m *machine) {
		out, code := m.try(m.here(page["sh ssh"]))
		if code != 0 {
			t.Errorf("%s: exit code %d\n%s", m.name, code, out)
			return
		}
		pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: filepath.Join(m.dir, "host.pem")})
		if err != nil || pair.Crt == nil || pair.Crt.Subject.CommonName != m.name || strings.Join(pair.Crt.DNSNames, " ") != m.name {
			t.Errorf("%s: %+v, %v", m.name, pair.Crt, err)
		}
	})
	if t.Failed() {
		t.Fatalf("cauased:\n%s", daemon)
	}

	one, two := l.hosts()[0], l.hosts()[1]
	for _, tt := range []struct {
		what string
		on   *machine
		line string
		want string
	}{
		{"the name of another host", one, "cauase request --ssh-host-key --cn " + two.name, "is not that of this name"},
		{"that besides its own", one, "cauase request --ssh-host-key --cn " + one.name + " --dns " + one.name + " --dns " + two.name + " --crt both.pem", "is not that of this name"},
		{"a name of nobody", one, "cauase request --ssh-host-key --cn www.fleet.example", "is not that of this name"},
		{"a key that is not listed", one, "ssh-keygen -q -t ed25519 -N '' -f ./stranger && cauase request --ssh-host-key=stranger --crt stranger.pem", "in none of the daemon's files of known hosts"},
		{"one that is listed, of another type", two, "ssh-keygen -q -t rsa -b 2048 -N '' -f ./rsa && cauase request --ssh-host-key=rsa --crt rsa.pem", "in none of the daemon's files of known hosts"},
	} {
		if out, code := tt.on.try(tt.line); code != 1 || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d\n%s", tt.what, code, out)
		}
	}
	// Without a proof it waits for a user, as ever.
	if out, code := one.try("cauase request --cn " + one.name + " --crt waits.pem"); code != 2 {
		t.Errorf("without a proof: exit code %d\n%s", code, out)
	}

	db, err := sql.Open("sqlite", filepath.Join(hub.dir, "cauase.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for query, want := range map[string]int{
		"SELECT count(*) FROM certificate WHERE authority = 'cas'":                                                    count + 1,
		"SELECT count(*) FROM certificate WHERE authority = 'cas' AND rule = 'policy-1' AND asked LIKE '%\"SHA256:%'": count + 1,
		"SELECT count(*) FROM request": 1,
	} {
		var got int
		if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", query, got, err, want)
		}
	}
}

// TestHostsByCertificateAndAddress: a device gets a certificate by the one of its factory, a host by what its address is called, and neither by
// less than that.
func TestHostsByCertificateAndAddress(t *testing.T) {
	l := newLAN(t, 4)
	page := pageOf(t, "host-names.md")
	hub := l.hub()
	device, thief, named, forger := l.hosts()[0], l.hosts()[1], l.hosts()[2], l.hosts()[3]
	zone := filepath.Join(hub.dir, "zone")
	for file, content := range map[string]string{
		zone: "3.0.99.10.in-addr.arpa. 60 IN PTR " + named.name + ".\n" +
			"4.0.99.10.in-addr.arpa. 60 IN PTR " + named.name + ".\n" +
			named.name + ". 60 IN A " + named.address + "\n",
		filepath.Join(hub.dir, "cauased.toml"): page["toml certificate"] + page["toml dns"] + `
[[policy]]
authority = "factory"
from      = "10.99.0.1"
names     = "*.factory.example"
decision  = "approve"
`,
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := hub.start("exec env " + envZone + "=" + zone + " " + self)
	await(t, server, "serving")
	daemon := hub.start("exec cauased --netloc " + hub.address + " --db cauase.sqlite --server-key server.key.pem --cors-key-store cors.key --config cauased.toml")
	await(t, daemon, "listening:")
	hub.run("cauased manage authority add factory --db cauase.sqlite")

	// The daemon is about to find the new authority.
	for out, code := "404", 1; code != 0; out, code = device.try("cauase --authority factory request --cn d1.factory.example --crt device.pem --key device.key") {
		if !strings.Contains(out, "404") {
			t.Fatalf("exit code %d\n%s", code, out)
		}
	}
	if err := exec.Command("cp", filepath.Join(device.dir, "device.pem"), filepath.Join(thief.dir, "seen.pem")).Run(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		on   *machine
		line string
		code int
		want string
	}{
		{"the names of its certificate", device, device.here(page["sh certificate"]), 0, "--cn d1.factory.example"},
		{"another name", device, "cauase request --proof-crt device.pem --proof-key device.key --cn d2.factory.example", 2, "pending"},
		{"the certificate of another, without its key", thief, "openssl ecparam -name prime256v1 -genkey -noout > key.pem && " +
			"cauase request --proof-crt seen.pem --proof-key key.pem --cn d1.factory.example", 1, "key"},
		{"the name of its address", named, "cauase request --cn " + named.name, 0, ""},
		{"another name than that of its address", named, "cauase request --cn other.fleet.example", 2, "pending"},
		{"a name that does not lead to its address", forger, "cauase request --cn " + named.name, 2, "pending"},
		{"a revoked certificate", device, "cauase --authority factory crt revoke device.pem --key device.key && cauase request --proof-crt device.pem --proof-key device.key --crt late.pem", 1, "revoked"},
	} {
		if out, code := tt.on.try(tt.line); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d\n%s\ncauased:\n%s", tt.what, code, out, daemon)
		}
	}
}
