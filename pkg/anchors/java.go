package anchors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"cauase/pkg/pki"
)

// A java is a keystore of Java, of a runtime (cacerts) or of a program.
type java struct {
	path     string
	password string // file, "" for the one that every cacerts has
}

// usualPassword is no secret: it guards against accidents.
const usualPassword = "changeit"

func (j *java) Kind() string  { return "java" }
func (j *java) Place() string { return j.path }

func (j *java) Check() error {
	f, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if os.IsPermission(err) {
		return fmt.Errorf("%s: %w", j.path, ErrRoot)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (j *java) keytool(ctx context.Context, dir scratch, args ...string) (string, error) {
	program := find("keytool")
	if program == "" {
		return "", ErrNoTool{"keytool", "default-jre-headless, java-headless"}
	}
	password := j.password
	if password == "" {
		var err error
		if password, err = dir.file("password", []byte(usualPassword+"\n")); err != nil {
			return "", err
		}
	}
	return run(ctx, program, append(args, "-keystore", j.path, "-storepass:file", password, "-J-Duser.language=en", "-J-Duser.country=US")...)
}

var javaEntry = regexp.MustCompile(`(?s)Alias name: (\S+)\s.*?(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----)`)

func (j *java) List(ctx context.Context) (found []Entry, err error) {
	dir, remove, err := newScratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	list, err := j.keytool(ctx, dir, "-list", "-rfc")
	if err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(list, "\nAlias name: ") {
		match := javaEntry.FindStringSubmatch("Alias name: " + part)
		if match == nil || !IsOurs(match[1]) {
			continue
		}
		entry := Entry{Name: match[1]}
		if crts, err := pki.ParseCertificateFile([]byte(match[2] + "\n")); err == nil && len(crts) == 1 && strings.HasSuffix(entry.Name, idOf(crts[0])) {
			entry.Crt = crts[0]
		}
		found = append(found, entry)
	}
	return found, nil
}

func (j *java) Apply(ctx context.Context, c Change) error {
	dir, remove, err := newScratch()
	if err != nil {
		return err
	}
	defer remove()
	add := func(entry Entry) error {
		path, err := dir.file("ca.pem", pki.EncodeCertificatePEM(entry.Crt.Raw))
		if err == nil {
			_, err = j.keytool(ctx, dir, "-importcert", "-noprompt", "-trustcacerts", "-alias", entry.Name, "-file", path)
		}
		return err
	}
	drop := func(entry Entry) error {
		_, err := j.keytool(ctx, dir, "-delete", "-alias", entry.Name)
		return err
	}
	return oneByOne(c, add, drop)
}

// javaRuntime finds the keystore of the Java that is used here. On Debian and Red Hat it is a link to one that follows the
// system's store, which is returned as such: it is not ours to change.
func javaRuntime() (path string, follows bool) {
	homes := []string{}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		homes = append(homes, home)
	}
	if program := find("keytool"); program != "" {
		if real, err := filepath.EvalSymlinks(program); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(real)))
		}
	}
	for _, home := range homes {
		for _, place := range []string{"lib/security/cacerts", "jre/lib/security/cacerts"} {
			real, err := filepath.EvalSymlinks(filepath.Join(home, place))
			if err != nil {
				continue
			}
			return real, strings.HasPrefix(real, "/etc/ssl/certs/") || strings.HasPrefix(real, "/etc/pki/")
		}
	}
	return "", false
}
