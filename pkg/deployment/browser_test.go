package deployment

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// TestPageBrowser tells the story of docs/browser.md with real browsers: an employee with a certificate sees the page;
// a browser without one does not, nor with one that has expired, nor once it was revoked. Likewise curl and openssl.
func TestPageBrowser(t *testing.T) {
	nginx := need(t, "nginx", "nginx-light")
	for program, debianPackage := range map[string]string{
		"openssl": "openssl", "curl": "curl", "certutil": "libnss3-tools", "pk12util": "libnss3-tools", "unshare": "util-linux",
	} {
		need(t, program, debianPackage)
	}
	chromium := need(t, "chromium", "chromium")
	s := newSite(t, "browser.md", "etc/nginx/tls", "intranet.example.org", employees)
	s.startPageOfEmployees(nginx)

	brief, bob := s.colleague("brief", "20s"), s.colleague("bob", "")
	curl, openssl := s.block("curl"), s.block("openssl")
	readers := map[string]func(folder string) error{
		"curl":     func(folder string) error { return s.readByCurl(curl, folder) },
		"openssl":  func(folder string) error { return s.readByOpenSSL(openssl, folder) },
		"Chromium": s.chromium(chromium),
	}
	if firefox := firefox(); firefox != "" {
		readers["Firefox"] = func(folder string) error { return s.readByFirefox(firefox, folder) }
	} else {
		t.Log("NOT TESTED: Firefox is not installed (apt-get install firefox-esr)")
	}
	all := func(what, folder string, sees bool) {
		t.Helper()
		results := make(chan string)
		for name, read := range readers {
			go func() {
				if err := read(folder); (err == nil) != sees {
					results <- fmt.Sprintf("%s: sees the page is %v: %v", name, err == nil, err)
				} else {
					results <- ""
				}
			}()
		}
		for range readers {
			if wrong := <-results; wrong != "" {
				t.Errorf("%s, %s", what, wrong)
			}
		}
	}
	refused := func(folder string) func() error {
		return func() error {
			if readers["curl"](folder) == nil {
				return errors.New("still served")
			}
			return nil
		}
	}
	s.until("curl is served", func() error { return readers["curl"](bob) })
	all("with a certificate", bob, true)
	all("without one", s.colleague("", ""), false)
	s.until("the brief certificate has expired", refused(brief))
	all("with an expired one", brief, false)

	began := time.Now()
	if err := s.shell(s.block("revoke"), s.asAdmin()...); err != nil {
		t.Fatal(err)
	}
	s.until("bob is refused", refused(bob))
	t.Logf("bob was refused %.1f seconds after the command that revokes his certificate began; 10 are promised", time.Since(began).Seconds())
	all("with a revoked one", bob, false)
	all("of a colleague, whose is not revoked", s.colleague("carol", ""), true)
}

// employees adds the authority of the page, and makes the user who signs for it.
func employees(s *site) {
	s.t.Helper()
	add := strings.Replace(s.block("authority"), "add staff", "add staff --db "+filepath.Join(s.dir, "ca", "cauase.sqlite"), 1)
	if err := s.shell(add); err != nil {
		s.t.Fatal(err)
	}
	s.until("the authority is served", func() error {
		_, err := try(s.dir, "curl", "--silent", "--fail", "http://"+s.ca+"/staff/crt/ca.crt.pem")
		return err
	})
	s.cauase("--mode", "user", "request", "--cn", "admin", "--crt", "admin.pem", "--invite", filepath.Join(s.dir, "ca", "first-user.invite"))
}

// asAdmin is the environment of the user who signs.
func (s *site) asAdmin() []string {
	return []string{"CAUASE_CA_URL=http://" + s.ca, "CAUASE_USER_KEY=" + filepath.Join(s.dir, "clients", "admin.pem")}
}

// startPageOfEmployees starts nginx and the agent as the page says.
func (s *site) startPageOfEmployees(nginx string) {
	s.t.Helper()
	unprivileged := ""
	if os.Getuid() == 0 {
		unprivileged = "user nobody " + nobodysGroup(s.t) + ";\n"
	}
	config := strings.Replace(s.block("config"), "listen 443 ssl", "listen "+s.address()+" ssl", 1)
	write(s.t, filepath.Join(s.dir, "nginx.conf"), unprivileged+fmt.Sprintf(`
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3;
  uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
`, s.dir)+s.block("map")+config+"}\n", 0o644)
	command := []string{nginx, "-p", s.dir, "-e", filepath.Join(s.dir, "error.log"), "-c", filepath.Join(s.dir, "nginx.conf")}
	s.reloads("nginx", strings.Join(command, " ")+" -s reload")
	s.background(".", command...)
	write(s.t, filepath.Join(s.tls, "updater.toml"), s.block("updater.toml"), 0o644)
	s.background("clients", "env", "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"), "sh", "-euc", s.block("updater"))
}

const password = "correct-horse"

// colleague makes the folder of somebody with a PKCS #12 file, unless there is no name, and with an NSS database, in which are
// that file and the CA certificates of services.
func (s *site) colleague(name, validity string) (folder string) {
	s.t.Helper()
	folder = filepath.Join(s.dir, "home", "nobody"+name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(folder, "password"), password+"\n", 0o600)
	write(s.t, filepath.Join(folder, "pass"), "pass = \""+password+"\"\n", 0o600)
	must(s.t, folder, "cp", filepath.Join(s.dir, "clients", "ca.pem"), "cas.crt.pem")
	nss := s.block("nss")
	if name == "" {
		nss = strings.ReplaceAll(nss, "pk12util", "true")
	} else {
		command := strings.TrimSpace(s.block("colleague")) + " --p12-password-file " + filepath.Join(folder, "password")
		if validity != "" {
			command += " --validity " + validity
		}
		if err := s.shell(strings.ReplaceAll(command, "bob", name), s.asAdmin()...); err != nil {
			s.t.Fatal(err)
		}
		must(s.t, folder, "mv", filepath.Join(s.dir, "clients", name+".p12"), "bob.p12")
		nss = strings.Replace(nss, "pk12util", "pk12util -w password", 1)
	}
	if err := s.shell("cd "+folder+"\n"+nss, "HOME="+folder); err != nil {
		s.t.Fatal(err)
	}
	return folder
}

// seen reports whether what a browser shows is the page.
func seen(page string) error {
	if regexp.MustCompile(`hello (bob|brief|carol)\b`).MatchString(page) {
		return nil
	}
	return fmt.Errorf("it shows %.300s", strings.Join(strings.Fields(page), " "))
}

func (s *site) readByCurl(command, folder string) error {
	command = strings.NewReplacer("curl ", "curl --silent --show-error --max-time 20 --config pass --resolve "+s.host+":"+strconv.Itoa(s.port)+":127.0.0.1 ",
		s.host+"/", s.host+":"+strconv.Itoa(s.port)+"/").Replace(strings.TrimSpace(command))
	if _, err := os.Stat(filepath.Join(folder, "bob.p12")); err != nil {
		command = strings.ReplaceAll(command, "--cert-type P12 --cert bob.p12", "")
	}
	out, err := try(folder, "sh", "-euc", command)
	if err != nil {
		return err
	}
	return seen(out)
}

func (s *site) readByOpenSSL(command, folder string) error {
	command = strings.NewReplacer("-nodes", "-passin file:password -nodes", "-connect "+s.host+":443", "-connect "+s.address()).Replace(command)
	if _, err := os.Stat(filepath.Join(folder, "bob.p12")); err != nil {
		lines := strings.SplitAfterN(command, "\n", 2)
		command = strings.Replace(lines[1], "-cert bob.key.pem", "", 1)
	}
	// It may end before it has read what it is refused with.
	out, err := try(folder, "timeout", "20", "sh", "-uc", command)
	return errors.Join(seen(out), err)
}

// chromium prepares to show the page in a Chromium of its own, with the policy of the page in the place where it looks for policies:
// in a mount namespace, as that place is the machine's.
func (s *site) chromium(program string) func(folder string) error {
	s.t.Helper()
	policies := filepath.Join(s.dir, "etc/chromium/policies/managed")
	if err := os.MkdirAll(policies, 0o755); err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(policies, "intranet.json"), strings.Replace(s.block("policy"), s.host, s.host+":"+strconv.Itoa(s.port), 1), 0o644)
	inside := []string{"-m"}
	if os.Getuid() != 0 {
		inside = []string{"-r", "-m"}
	}
	inside = append(inside, "sh", "-euc", `mount --bind "$0" /etc/chromium && exec "$@"`, filepath.Join(s.dir, "etc/chromium"))
	if _, err := try(s.dir, append(append([]string{"unshare"}, inside...), "true")...); err != nil {
		if os.Getenv(requireAll) == "1" {
			s.t.Fatal(err)
		}
		s.t.Skipf("NOT TESTED: Chromium cannot be given a policy here, in a mount namespace: %v", err)
	}
	return func(folder string) error { return s.readByChromium(append(slices.Clone(inside), program), folder) }
}

func (s *site) readByChromium(program []string, folder string) error {
	argv := append(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--no-proxy-server", "--user-data-dir="+filepath.Join(folder, "chromium"),
		"--host-resolver-rules=MAP "+s.host+" 127.0.0.1, MAP * ~NOTFOUND", "--virtual-time-budget=2000", "--dump-dom", "https://"+s.host+":"+strconv.Itoa(s.port)+"/")
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "HOME="+folder, "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", "DBUS_SESSION_BUS_ADDRESS=disabled:")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var said testkit.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return seen(string(out))
}

// firefox finds the browser, "" if there is none.
func firefox() string {
	for _, name := range []string{"firefox-esr", "firefox"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// readByFirefox shows the page in a Firefox of its own, which is told what to do in the protocol of its driver, Marionette.
func (s *site) readByFirefox(firefox, folder string) error {
	profile := filepath.Join(folder, "firefox")
	if err := os.MkdirAll(profile, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"cert9.db", "key4.db", "pkcs11.txt"} {
		if content, err := os.ReadFile(filepath.Join(folder, ".pki/nssdb", name)); err == nil {
			if err := os.WriteFile(filepath.Join(profile, name), content, 0o600); err != nil {
				return err
			}
		}
	}
	port := testkit.FreePorts(s.t, 1)
	preferences := fmt.Sprintf(`user_pref("security.default_personal_cert", "Select Automatically");
user_pref("network.dns.localDomains", %q);
user_pref("network.proxy.type", 0);
user_pref("marionette.port", %d);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:9/");
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
`, s.host, port)
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(preferences), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(firefox, "--headless", "--marionette", "--no-remote", "--profile", profile, "about:blank")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "HOME="+folder, "XDG_CONFIG_HOME=", "MOZ_CRASHREPORTER_DISABLE=1", "MOZ_REMOTE_SETTINGS_DEVTOOLS=1", "DBUS_SESSION_BUS_ADDRESS=disabled:")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said testkit.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	page, err := marionette(port, "https://"+s.host+":"+strconv.Itoa(s.port)+"/")
	if err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return seen(page)
}

// marionette opens a page and returns its source.
func marionette(port int, url string) (string, error) {
	deadline := time.Now().Add(patience)
	var conn net.Conn
	for {
		var err error
		if conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return "", err
		}
		time.Sleep(20 * time.Millisecond) // until another process listens
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	receive := func() ([]byte, error) {
		size, err := r.ReadString(':')
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil || n > 1<<20 {
			return nil, fmt.Errorf("a message of %q bytes", size)
		}
		message := make([]byte, n)
		_, err = io.ReadFull(r, message)
		return message, err
	}
	if _, err := receive(); err != nil { // who it is
		return "", err
	}
	call := func(id int, command string, parameters any) (string, error) {
		message, err := json.Marshal([]any{0, id, command, parameters})
		if err != nil {
			return "", err
		}
		if _, err := fmt.Fprintf(conn, "%d:%s", len(message), message); err != nil {
			return "", err
		}
		if message, err = receive(); err != nil {
			return "", err
		}
		var answer []json.RawMessage
		if err := json.Unmarshal(message, &answer); err != nil || len(answer) != 4 {
			return "", fmt.Errorf("%s: %s", command, message)
		}
		if string(answer[2]) != "null" {
			return "", fmt.Errorf("%s: %s", command, answer[2])
		}
		return string(answer[3]), nil
	}
	if _, err := call(1, "WebDriver:NewSession", map[string]any{}); err != nil {
		return "", err
	}
	if _, err := call(2, "WebDriver:Navigate", map[string]any{"url": url}); err != nil {
		return "", err
	}
	source, err := call(3, "WebDriver:GetPageSource", map[string]any{})
	if err != nil {
		return "", err
	}
	var value struct{ Value string }
	if err := json.Unmarshal([]byte(source), &value); err != nil {
		return "", err
	}
	return value.Value, nil
}
