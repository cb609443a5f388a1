package deployment

import (
	"strings"
	"testing"
)

// TestPageAppliances signs what a device brings, as docs/appliances.md says, and has openssl and keytool read the answers.
func TestPageAppliances(t *testing.T) {
	need(t, "keytool", "default-jre-headless")
	o := newOffice(t, "docs/appliances.md")
	o.page("request", nil)
	// Who sits there answers the question.
	o.page("sign", nil, "cauase sign", "cauase sign --yes")
	o.does("sed -e s/switch/other/g <<'END' | sh\n" + strings.ReplaceAll(o.fence("sh request").text, "switch-7", "switch-9") + "END\n")
	o.page("names", nil, "cauase sign", "cauase sign --yes")
	if out := o.does("openssl x509 -in other.crt.pem -noout -ext subjectAltName,extendedKeyUsage"); !strings.Contains(out, "DNS:switch-8.lab.example, IP Address:192.0.2.8") || !strings.Contains(out, "Web Server") {
		t.Errorf("names: %s", out)
	}
	if out := strings.Join(o.page("formats", nil), ""); !strings.Contains(out, "switch.crt.pem: OK") || strings.Count(out, "subject=") != 2 {
		t.Errorf("formats: %s", out)
	}
	o.page("keytool", nil)
	if out := o.does("keytool -list -v -keystore store.p12 -storepass changeit -alias tomcat"); !strings.Contains(out, "Certificate chain length: 2") {
		t.Errorf("keytool: %s", out)
	}
}
