package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cauase/pkg/pki"
)

// workAgent is an agent that has nothing to do, with so many certificates.
const (
	workAgent    = "idle agent, certificates: "
	agentSubject = "cauase-updater"
)

// agents is the group of rows about the agent.
func (b *bench) agents(ctx context.Context) error {
	d, err := b.startIn(ctx, sqliteEngine, pki.KeyECDSAP256)
	if err != nil {
		return err
	}
	defer b.stopAll([]contender{d})
	p, err := d.enrolment(b.agentJobs + 1)
	if err != nil {
		return err
	}
	if _, err := b.load(d.servers()...).run(ctx, p); err != nil {
		return err
	}
	for _, hosts := range [][]host{d.hosts[:1], d.hosts[1:]} {
		if err := b.idleAgent(ctx, d, hosts); err != nil {
			return fmt.Errorf("agent with %d certificates: %w", len(hosts), err)
		}
	}
	return nil
}

// idleAgent has an agent look after certificates that were just issued, and looks at it once it has come to rest.
func (b *bench) idleAgent(ctx context.Context, d *daemon, hosts []host) error {
	dir, err := b.folder("agent")
	if err != nil {
		return err
	}
	config := fmt.Sprintf("ca-url = \"http://%s\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n", d.host)
	for i, h := range hosts {
		name := fmt.Sprintf("job%d", i)
		if err := writePair(dir, name, h); err != nil {
			return err
		}
		config += fmt.Sprintf("\n[[job]]\nname = %[1]q\ncrt = \"%[1]s.crt\"\nkey = \"%[1]s.key\"\n", name)
	}
	if err := os.WriteFile(filepath.Join(dir, "agent.toml"), []byte(config), 0o600); err != nil {
		return err
	}
	p, err := start(dir, b.agent, []string{"--config", "agent.toml"}, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err := p.stop(); err != nil {
			b.say("%v", err)
		}
	}()
	work := workAgent + strconv.Itoa(len(hosts))
	busy, err := took(func() error { return b.untilCalm(ctx, p) })
	if err != nil {
		return err
	}
	b.results.add(work, agentSubject, untilCalm, ms(busy))
	return b.watchIdle(ctx, p, work, agentSubject)
}

// untilCalm waits until a program does next to nothing for as long as it is to be watched.
func (b *bench) untilCalm(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	for window := min(b.idle, 5*time.Second); ; {
		before, err := p.cpu()
		if err != nil {
			return err
		}
		if err := pause(ctx, window); err != nil {
			return fmt.Errorf("%s does not come to rest: %w\n%s", p.name, err, p.lastWords())
		}
		after, err := p.cpu()
		if err != nil {
			return err
		}
		if after-before <= window/100 {
			return nil
		}
	}
}

// watchIdle looks for a while at a process that has nothing to do.
func (b *bench) watchIdle(ctx context.Context, p *process, work, subject string) error {
	before, err := p.cpu()
	if err != nil {
		return err
	}
	passed, err := took(func() error { return pause(ctx, b.idle) })
	if err != nil {
		return err
	}
	after, err := p.cpu()
	if err != nil {
		return err
	}
	m, err := p.memory()
	b.results.add(work, subject, percentCPU, 100*(after-before).Seconds()/passed.Seconds())
	b.results.remembers(work, subject, m)
	b.say("%s: %.1f MiB, %v in %v", work, m.resident, after-before, passed)
	return err
}

// writePair writes a key and its certificate.
func writePair(dir, name string, h host) error {
	der, err := x509.MarshalPKCS8PrivateKey(h.key)
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, name+".key"), private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".crt"), pki.EncodeCertificatePEM(h.crt.Raw), 0o600)
}
