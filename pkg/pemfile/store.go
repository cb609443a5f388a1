package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"cauase/pkg/folder"
	"cauase/pkg/pki"
)

// A Store is a location of several PEMs of one kind: a file that holds them one after
// the other, or a directory with a file for each, named by the hexadecimal authority
// key identifier. A location that does not exist will be a file if its name has an
// extension, and a directory if not.
type Store struct {
	Path string

	// Attributes of the files written; a directory that is created has the usual mode.
	Attributes Attributes

	// Ours says that this location is known to have been a store like this: what is
	// there now and cannot be read is damage, and may be replaced. Files with a
	// private key are not, nevertheless.
	Ours bool

	kind kind
}

type kind struct {
	suffix    string // of the files in a directory that are ours to remove
	blockType string
	name      string // for messages
}

// CAStore is the location of an authority's CA certificates.
func CAStore(path string) Store {
	return Store{Path: path, kind: kind{suffix: ".ca.pem", blockType: "CERTIFICATE", name: "CA certificates"}}
}

// CRLStore is the location of an authority's revocation lists.
func CRLStore(path string) Store {
	return Store{Path: path, kind: kind{suffix: ".crl.pem", blockType: "X509 CRL", name: "revocation lists"}}
}

// maxEntries bounds the files read from a directory.
const maxEntries = 10_000

// ErrUnusable is a store that has content, but none of the kind it should hold, such as a
// CA location that points at a key.
var ErrUnusable = errors.New("holds nothing usable")

// ReadCertificates returns every certificate in the store, CA or not, expired or not;
// none if there is no such location yet. In a directory all files count, also those
// an administrator put there under other names: silently passing over a trust anchor
// would mean trust on first use where something was trusted already.
func (s Store) ReadCertificates() ([]*x509.Certificate, error) {
	contents, err := s.contents()
	if err != nil {
		return nil, err
	}
	var crts []*x509.Certificate
	for _, c := range contents {
		found, err := CertificatesOf(c.path, c.content)
		if err != nil {
			return nil, err
		}
		crts = append(crts, found...)
	}
	if len(contents) > 0 && len(crts) == 0 {
		return nil, fmt.Errorf("%s %w: no certificate in it", s.Path, ErrUnusable)
	}
	return crts, nil
}

// ReadCRLs returns the revocation lists in the store that can be used. Others, cut
// short or of another kind, count for nothing: a list is only ever replaced by one
// that is verified, and a broken one protects nobody.
func (s Store) ReadCRLs() ([]*x509.RevocationList, error) {
	crls, _, err := s.LookAtCRLs()
	return crls, err
}

// A PartialCRL is a revocation list in a store that must not be there, see [pki.CheckCRLScope]: whatever reads the
// store next to us may take it for a complete one.
type PartialCRL struct {
	Path string
	Err  error // what it is, a pki.ErrPartialCRL
	// Foreign says that its file is not one that WriteCRLs removes.
	Foreign bool
}

// LookAtCRLs is ReadCRLs for those who also want to know of partial lists.
func (s Store) LookAtCRLs() (crls []*x509.RevocationList, partial []PartialCRL, err error) {
	contents, err := s.contents()
	if err != nil {
		return nil, nil, err
	}
	for _, c := range contents {
		found, err := pki.ParseCRLsPEM(c.content)
		if err != nil {
			continue
		}
		for _, crl := range found {
			if err := pki.CheckCRLScope(crl); err != nil {
				foreign := c.path != s.Path && !strings.HasSuffix(c.path, s.kind.suffix)
				partial = append(partial, PartialCRL{Path: c.path, Err: err, Foreign: foreign})
				continue
			}
			crls = append(crls, crl)
		}
	}
	return crls, partial, nil
}

type content struct {
	path    string
	content []byte
}

// contents reads the files of the store that hold PEM of its kind, and a lone file in
// any case.
func (s Store) contents() ([]content, error) {
	in, isFolder, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !isFolder {
		data, err := s.Attributes.Read(s.Path)
		if err != nil || len(bytes.TrimSpace(data.Data)) == 0 {
			return nil, err
		}
		return []content{{s.Path, data.Data}}, nil
	}
	defer in.Close()
	names, err := in.Names(maxEntries, nil)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []content
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		path := filepath.Join(s.Path, name)
		data, err := s.readEntry(in, name)
		if errors.Is(err, ErrNotRegular) || errors.Is(err, fs.ErrNotExist) {
			continue // a folder, a FIFO, a socket, a dangling link: nothing of ours
		}
		if err != nil {
			return nil, err
		}
		if bytes.Contains(data.Data, []byte("-----BEGIN "+s.kind.blockType+"-----")) {
			all = append(all, content{path, data.Data})
		}
	}
	return all, nil
}

// readEntry reads a file in a directory, which may be a link to one that an administrator has elsewhere.
func (s Store) readEntry(in *folder.Folder, name string) (Content, error) {
	content, err := s.Attributes.readIn(in, name)
	if errors.Is(err, ErrSymlink) && !s.Attributes.Access().NoLinks {
		return s.Attributes.Read(in.Join(name))
	}
	return content, err
}

// open opens the folder that the store is, if it is one. Otherwise there is a file, or an error
// says why not.
func (s Store) open() (in *folder.Folder, isFolder bool, err error) {
	in, name, err := s.Attributes.Access().Target(s.Path)
	if err == nil {
		defer in.Close()
		var info *folder.Info
		switch info, err = in.Stat(name); {
		case err != nil:
			return nil, false, err
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, false, fmt.Errorf("%s %w", s.Path, ErrSymlink)
		case !info.IsDir():
			return nil, false, nil
		}
	} else if !errors.Is(err, syscall.EISDIR) { // a path such as "."
		return nil, false, err
	}
	in, err = s.Attributes.Access().Open(s.Path)
	return in, true, err
}

// WriteCertificates makes crts all that the store holds, and reports whether anything
// changed. In a directory, files with the managed ending that are not current are
// removed, others left alone.
func (s Store) WriteCertificates(crts []*x509.Certificate) (changed bool, err error) {
	entries := make([]entry, 0, len(crts))
	for _, crt := range crts {
		entries = append(entries, entry{id: crt.SubjectKeyId, pem: pki.EncodeCertificatePEM(crt.Raw)})
	}
	return s.write(entries)
}

// WriteCRLs makes crls all that the store holds, see [Store.WriteCertificates].
func (s Store) WriteCRLs(crls []*x509.RevocationList) (changed bool, err error) {
	entries := make([]entry, 0, len(crls))
	for _, crl := range crls {
		entries = append(entries, entry{id: crl.AuthorityKeyId, pem: pki.EncodeCRLPEM(crl.Raw)})
	}
	return s.write(entries)
}

type entry struct {
	id  []byte
	pem []byte
}

func (s Store) write(entries []entry) (bool, error) {
	in, isFolder, err := s.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if filepath.Ext(s.Path) != "" {
			return s.writeFile(entries)
		}
		return s.createDirectory(entries)
	case err != nil && !errors.Is(err, ErrSymlink): // which has a word about it when it is written
		return false, err
	case isFolder:
		defer in.Close()
		return s.writeDirectory(in, entries)
	}
	return s.writeFile(entries)
}

func (s Store) writeFile(entries []entry) (bool, error) {
	var all []byte
	for _, e := range entries {
		all = append(all, e.pem...)
	}
	if err := s.checkReplaceable(); err != nil {
		return false, err
	}
	return Write(File{Path: s.Path, Content: all, Attributes: s.Attributes})
}

// checkReplaceable refuses a file that holds what this store is not for: a location
// that points at a key or certificate by mistake must not destroy it.
func (s Store) checkReplaceable() error {
	found, err := s.Attributes.Read(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	data := found.Data
	if s.Ours && !bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil
	}
	all := bytes.Count(data, []byte("-----BEGIN "))
	ours := bytes.Count(data, []byte("-----BEGIN "+s.kind.blockType+"-----"))
	if all != ours || all == 0 && len(bytes.TrimSpace(data)) > 0 {
		return fmt.Errorf("%s %w: it holds something else than %s, and would lose it", s.Path, ErrUnusable, s.kind.name)
	}
	if s.kind != CAStore("").kind {
		return nil
	}
	blocks, err := pki.SplitPEM(data)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	for _, block := range blocks {
		if crt, err := pki.ParseIssuedDER(block.Bytes); err == nil && !crt.IsCA {
			return fmt.Errorf("%s %w: it holds a certificate that is not a CA's, and would lose it", s.Path, ErrUnusable)
		}
	}
	return nil
}

// createDirectory leaves no directory behind if it cannot be filled.
func (s Store) createDirectory(entries []entry) (bool, error) {
	parent, name, err := s.Attributes.Access().Target(s.Path)
	if err != nil {
		return false, err
	}
	defer parent.Close()
	in, err := parent.Mkdir(name, 0o755)
	if err != nil {
		return false, err
	}
	defer in.Close()
	if _, err := s.writeDirectory(in, entries); err != nil {
		_ = parent.RemoveFolder(name)
		return false, err
	}
	return true, syncNames(parent)
}

func (s Store) writeDirectory(in *folder.Folder, entries []entry) (changed bool, err error) {
	current := make(map[string]bool, len(entries))
	files := make([]File, 0, len(entries))
	for _, e := range entries {
		if len(e.id) == 0 {
			return false, fmt.Errorf("%s: an entry without key identifier has no name in a directory", s.Path)
		}
		name := hex.EncodeToString(e.id) + s.kind.suffix
		if current[name] {
			return false, fmt.Errorf("%s: two entries named %s", s.Path, name)
		}
		current[name] = true
		files = append(files, File{Path: filepath.Join(s.Path, name), Content: e.pem, Attributes: s.Attributes})
	}
	if changed, err = WriteAll(files...); err != nil {
		return false, err
	}
	// Only now may the old ones go: at no time is there less than one of the two.
	old, err := in.Names(maxEntries, func(name string) bool { return !current[name] && strings.HasSuffix(name, s.kind.suffix) })
	if err != nil {
		return changed, err
	}
	for _, name := range old {
		if info, err := in.Stat(name); err != nil || info.IsDir() {
			continue
		}
		s.Attributes.step("remove " + name)
		if err := in.Remove(name); err != nil {
			return changed, err
		}
		changed = true
	}
	if changed {
		err = syncNames(in)
	}
	return changed, err
}
