package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"cauase/pkg/config"
	"cauase/pkg/proof"
)

// An sshTable is [ssh]: where the SSH host keys are listed by which hosts prove who they are. A path is relative to the folder of the configuration
// file.
type sshTable struct {
	KnownHosts any `toml:"known_hosts"` // a path, or a list of such
	CAKeys     any `toml:"ca_keys"`
}

// read reads the files that it names. Nil: it names none.
func (s sshTable) read(file string, places *config.Places) (*proof.Hosts, error) {
	var wrong error
	paths := func(key string, value any) []string {
		list, err := pathList(value, filepath.Dir(file))
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%v: ssh.%s: %w", places.Find("ssh", key), key, err))
		}
		return list
	}
	files := proof.Files{KnownHosts: paths("known_hosts", s.KnownHosts), CAKeys: paths("ca_keys", s.CAKeys)}
	if wrong != nil || files.None() {
		return nil, wrong
	}
	hosts, err := proof.ReadHosts(files)
	if err != nil {
		return nil, fmt.Errorf("%v: ssh: %w", places.Find("ssh"), err)
	}
	return hosts, nil
}

// pathList reads what may be a path or a list of paths.
func pathList(value any, folder string) (paths []string, err error) {
	var list []any
	switch value := value.(type) {
	case nil:
	case []any:
		list = value
	default:
		list = []any{value}
	}
	for _, element := range list {
		path, ok := element.(string)
		if !ok || path == "" {
			return nil, errors.New("must be the path of a file in quotes, or a list such as [\"/etc/ssh/ssh_known_hosts\"]")
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// A dnsTable is [dns]: who is asked what the addresses of askers are called.
type dnsTable struct {
	Server string `toml:"server"` // ADDRESS or ADDRESS:PORT; empty: the system's
}

const dnsPort = 53

func (d dnsTable) server(places *config.Places) (string, error) {
	if d.Server == "" {
		return "", nil
	}
	if addr, err := netip.ParseAddr(d.Server); err == nil {
		return net.JoinHostPort(addr.String(), strconv.Itoa(dnsPort)), nil
	}
	if at, err := netip.ParseAddrPort(d.Server); err == nil && at.Port() != 0 {
		return at.String(), nil
	}
	return "", fmt.Errorf("%v: dns.server: %.80q is not the ADDRESS or ADDRESS:PORT of a name server", places.Find("dns", "server"), d.Server)
}
