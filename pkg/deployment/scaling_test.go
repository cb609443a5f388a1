package deployment

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"cauase/pkg/pgtest"
)

// TestPageScaling sets a database up as docs/scaling.md says, with roles of its own, moves a daemon with a user there, and back. The
// balancer and the partitions are run by package cluster, failover, too.
func TestPageScaling(t *testing.T) {
	psql := need(t, "psql", "postgresql-client")
	o := newOffice(t, "docs/scaling.md")
	cluster := pgtest.Start(t, pgtest.Options{})
	cluster.Exec(t, "ALTER ROLE cauase RENAME TO other") // of the cluster's own databases
	super, err := url.Parse(cluster.SuperuserDSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	// The administrator sits at the machine of the server, who may be anybody; here passwords are needed. \c keeps the rest.
	roles := strings.NewReplacer("CREATE ROLE cauase_owner LOGIN", "CREATE ROLE cauase_owner LOGIN PASSWORD 'o'",
		"CREATE ROLE cauase LOGIN", "CREATE ROLE cauase LOGIN PASSWORD 'd'", `\c cauase cauase_owner`,
		`\c postgres://cauase_owner:o@`+super.Host+`/cauase?sslmode=disable`).Replace(o.fence("sql roles").text)
	write(t, o.dir+"/roles.sql", roles, 0o600)
	must(t, o.dir, psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "roles.sql", super.String())
	write(t, o.dir+"/pgpass", super.Hostname()+":*:*:cauase_owner:o\n"+super.Hostname()+":*:*:cauase:d\n", 0o600)
	passwords := "export PGPASSFILE=" + o.dir + "/pgpass\n"
	here := []string{"db1.internal,db2.internal", super.Host, "db1.internal", super.Host, "sslmode=verify-full", "sslmode=disable",
		"&sslrootcert=/etc/cauase/db-ca.pem", ""}
	replace := func(text string) string {
		text = strings.ReplaceAll(text, "db1.internal/cauase\n", "db1.internal/cauase?sslmode=disable\n")
		return strings.NewReplacer(here...).Replace(text)
	}

	// A daemon whose role may not change the layout says that it has to be done.
	address := strings.TrimSpace(replace(o.fence("sh address").text))
	o.close()
	if out, code := o.shell(passwords + fmt.Sprintf("cauased --netloc 127.0.0.1:%d ", o.port) + address); code != 1 || !strings.Contains(out, "migrate") {
		t.Errorf("a daemon before migrate: exit code %d: %s", code, out)
	}
	o.does(passwords + replace(o.fence("sh migrate").text))

	move := commands(o.fence("sh move").text + "\n")
	if len(move) != 3 || move[0] != "systemctl stop cauased" {
		t.Fatalf("%q", move)
	}
	for _, command := range move[1:] {
		command = strings.NewReplacer("sudo -u cauase ", "", "/var/lib/cauase/", "").Replace(replace(command + "\n"))
		o.does(passwords + strings.ReplaceAll(command, "?sslmode", `\?sslmode`))
	}
	o.does("mkdir old && mv cauase.sqlite* old/")

	// Two daemons there, with the settings of the page, each with a key of its own.
	environment := "set -a; export " + strings.Join(strings.Fields(strings.NewReplacer("ca.example.org:8009", fmt.Sprintf("127.0.0.1:%d", o.port),
		"0.0.0.0", "127.0.0.1", "postgres://", "'postgres://", "\nCAUASED_LOCK", "'\nCAUASED_LOCK").Replace(replace(o.fence("sh environment").text))), " ") + "\n"
	write(t, o.dir+"/environment", passwords+environment, 0o600)
	o.launch("bash -c '. ./environment; exec cauased --server-key one.pem'")
	o.does("cauase csr list")
	cluster.ExecIn(t, "cauase", o.fence("sql vacuum").text)
	o.close()

	// And back.
	o.does(passwords + "cauased manage copy " + address + " --to back.sqlite")
	o.launch(fmt.Sprintf("cauased --netloc 127.0.0.1:%d --db back.sqlite", o.port))
	o.does("cauase csr list")
}
