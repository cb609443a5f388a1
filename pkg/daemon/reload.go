package daemon

import (
	"context"
	"encoding/hex"

	"cauase/pkg/hook"
	"cauase/pkg/policy"
	"cauase/pkg/proof"
	"cauase/pkg/server/signing"
	"cauase/pkg/store"
)

// Tables are what a configuration file says beside settings, and what a running daemon can be told anew. They have been checked, as
// far as that is possible without a database.
type Tables struct {
	// Policy is what becomes of requests before a user has looked at them; nil: they wait for one.
	Policy *policy.Set
	// Hooks are programs and web servers that are asked or told; nil: none.
	Hooks *hook.Set
	// Signing has PUT /api/csr/{id} be answered; nil: it is not. It takes a start to begin with that.
	Signing *signing.Target
	// PolicyAt says where a field of a rule stands, for warnings; nil: that is not known.
	PolicyAt func(rule int, field string) string

	// Hosts are the SSH host keys by which hosts prove who they are; nil: none are known.
	Hosts *proof.Hosts
	// NameServer, ADDRESS:PORT, is asked what addresses are called, if a rule wants to know; empty: those of the system are.
	NameServer string
}

// known is who or what is known beside the database.
type known struct {
	hosts   *proof.Hosts
	reverse *proof.Reverse
	server  string // that reverse asks
}

// learn has the tables say who is known.
func (d *Daemon) learn(t Tables) {
	now := &known{hosts: t.Hosts, server: t.NameServer}
	if before := d.known.Load(); before != nil && before.server == now.server {
		now.reverse = before.reverse // with what it is asking, and its limits
	} else {
		now.reverse = proof.NewReverse(proof.ResolverAt(now.server))
	}
	d.known.Store(now)
}

// hosts are the SSH host keys that are known, nil for none.
func (d *Daemon) hosts() *proof.Hosts { return d.known.Load().hosts }

// addressNames are what an address is called, if a rule about an authority wants to know.
func (d *Daemon) addressNames(ctx context.Context, authority store.AuthorityName, address string) ([]string, error) {
	if !d.policy.Set().WantsReverse(string(authority)) {
		return nil, nil
	}
	return d.known.Load().reverse.Names(ctx, address)
}

// Policy returns the rules in force.
func (d *Daemon) Policy() *policy.Engine { return d.policy }

// Reload has tables take the place of those before. An operation under way goes by either.
func (d *Daemon) Reload(ctx context.Context, t Tables) {
	d.warnOfRules(ctx, t)
	d.useSigning(ctx, t.Signing)
	d.learn(t)
	d.decideBy(t.Policy, t.Hooks)
	d.log.InfoContext(ctx, "configuration reloaded", "policy_rules", t.Policy.Len(), "policy_digest", hex.EncodeToString(t.Policy.Digest()), "ssh", t.Hosts.Describe())
}

// warnOfRules logs what is strange about rules, given the authorities and profiles that there are.
func (d *Daemon) warnOfRules(ctx context.Context, t Tables) {
	for _, w := range t.Policy.Warnings(d.surroundings()) {
		at := w.Rule
		if t.PolicyAt != nil {
			at = t.PolicyAt(w.Index, w.Field)
		}
		d.log.WarnContext(ctx, "a policy rule is not what it seems", "rule", w.Rule, "at", at, "warning", w.String())
	}
}

// surroundings are what rules can refer to.
func (d *Daemon) surroundings() policy.Surroundings {
	in := policy.Surroundings{Daemon: d.ownNames()}
	for _, a := range d.authorities.All() {
		in.Authorities = append(in.Authorities, string(a.Name()))
		if a.Row().Role == store.RoleUsers {
			in.Users = append(in.Users, string(a.Name()))
		}
	}
	if d.cfg.Profiles != nil {
		in.Profiles = d.cfg.Profiles.Names()
	}
	return in
}

// ownNames are the hosts by which the daemon itself is reached.
func (d *Daemon) ownNames() []string { return []string{d.cfg.Netloc.Host} }
