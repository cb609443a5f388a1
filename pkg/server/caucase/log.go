package caucase

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"

	"cauase/pkg/audit"
	"cauase/pkg/ledger"
	"cauase/pkg/merkle"
	"cauase/pkg/server"
	"cauase/pkg/witness"
)

// getCheckpoint answers with the newest checkpoint of the log, and proves that it continues the one that the host keeps.
func (f *FrontEnd) getCheckpoint(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	q, err := readQuestion(x.Request)
	if err != nil {
		return nil, err
	}
	if f.cfg.Ledger == nil {
		return nil, server.ErrNotFound
	}
	return func(ctx context.Context, actor audit.Actor) error {
		answer, payload, err := f.cfg.Ledger.Checkpoint(ctx, actor, q)
		if err != nil {
			return err
		}
		if answer.Statement, err = a.VouchLog(ctx, payload); err != nil {
			return err
		}
		body, err := answer.Encode()
		if err != nil {
			return err
		}
		x.Header().Set("Cache-Control", server.NoStore) // an old answer looks like an old daemon
		return x.Reply(http.StatusOK, server.TypeJSON, body)
	}, nil
}

// getProof answers with the proof that the log has the issuance of a certificate, to whoever has that.
func (f *FrontEnd) getProof(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	digest, size, err := readCertificateDigest(x.Request)
	if err != nil {
		return nil, err
	}
	if f.cfg.Ledger == nil {
		return nil, server.ErrNotFound
	}
	return func(ctx context.Context, _ audit.Actor) error {
		proof, payload, err := f.cfg.Ledger.Proof(ctx, string(a.Name()), digest, size)
		if err != nil {
			return err
		}
		if proof.Statement, err = a.VouchLog(ctx, payload); err != nil {
			return err
		}
		body, err := proof.Encode()
		if err != nil {
			return err
		}
		return x.ReplyCached(server.TypeJSON, body)
	}, nil
}

// logQuery returns the parameters of these names, each given at most once and with a value. Others do not count, as everywhere.
func logQuery(r *http.Request, names ...string) (map[string]string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, server.Refuse(http.StatusBadRequest, "malformed query")
	}
	given := make(map[string]string)
	for _, name := range names {
		values, there := query[name]
		if !there {
			continue
		}
		if len(values) != 1 || values[0] == "" {
			return nil, server.Refuse(http.StatusBadRequest, "%s must be given once, with a value", name)
		}
		given[name] = values[0]
	}
	return given, nil
}

func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !isDecimal(text) || size > merkle.MaxSize {
		return 0, server.Refuse(http.StatusBadRequest, "size must be how many entries the log had, decimal")
	}
	return size, nil
}

// readQuestion reads what a host says of the checkpoint that it keeps.
func readQuestion(r *http.Request) (q ledger.Question, err error) {
	given, err := logQuery(r, "size", "root")
	if err != nil {
		return q, err
	}
	if q.Size, err = parseSize(given["size"]); err != nil {
		return q, err
	}
	if text := given["root"]; text != "" {
		root, err := base64.URLEncoding.DecodeString(text)
		if err != nil || len(root) != merkle.HashSize || given["size"] == "" {
			return q, server.Refuse(http.StatusBadRequest, "root must be a hash of 32 bytes, base64url, beside size")
		}
		hash := merkle.Hash(root)
		q.Root = &hash
	}
	switch shown := r.Header.Values(witness.HeaderCheckpoint); {
	case len(shown) == 0:
		return q, nil
	case len(shown) > 1:
		return q, server.Refuse(http.StatusBadRequest, "%s must be given once", witness.HeaderCheckpoint)
	default:
		note, err := base64.StdEncoding.DecodeString(shown[0])
		if err != nil || len(note) > merkle.MaxCheckpoint {
			return q, server.Refuse(http.StatusBadRequest, "%s must be a signed checkpoint, base64", witness.HeaderCheckpoint)
		}
		c, err := merkle.ReadCheckpoint(note)
		if err != nil || c.Size != q.Size || q.Root != nil && *q.Root != c.Root {
			return q, server.Refuse(http.StatusBadRequest, "%s must be a signed checkpoint of this size and root", witness.HeaderCheckpoint)
		}
		q.Signed = note
		return q, nil
	}
}

// readCertificateDigest reads for which certificate, and for which tree, a proof is asked for.
func readCertificateDigest(r *http.Request) (digest []byte, size int64, err error) {
	given, err := logQuery(r, "digest", "size")
	if err != nil {
		return nil, 0, err
	}
	digest, err = hex.DecodeString(given["digest"])
	if err != nil || len(digest) != 32 {
		return nil, 0, server.Refuse(http.StatusBadRequest, "digest must be the SHA-256 of a certificate's DER, 64 hexadecimal digits")
	}
	size, err = parseSize(given["size"])
	if err == nil && given["size"] != "" && size == 0 {
		err = server.Refuse(http.StatusBadRequest, "a log of size 0 has no entries")
	}
	return digest, size, err
}
