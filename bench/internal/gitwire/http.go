package gitwire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Web is a repository over HTTP (gitprotocol-http(5)).
type Web struct {
	Client         *http.Client
	URL            string // ends in .git
	User, Password string // sent with every request, unless User is ""
}

// Kept returns a client that keeps its connections, n of them, and trusts the
// authority in the file ca, if that is not "".
func Kept(n int, ca string) (*http.Client, error) {
	t := &http.Transport{MaxIdleConns: n, MaxIdleConnsPerHost: n, IdleConnTimeout: time.Minute, DisableCompression: true}
	if ca != "" {
		raw, err := os.ReadFile(ca) //nolint:gosec // our own configuration
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM(raw)
	}
	return &http.Client{Transport: t}, nil
}

// Fetch fetches with protocol v2 and returns the size of the pack.
func (w Web) Fetch(ctx context.Context, want Want) (int64, error) {
	id, err := w.List(ctx, want.Ref)
	if err != nil {
		return 0, err
	}
	body, err := w.post(ctx, "git-upload-pack", fetch(id, want))
	if err != nil {
		return 0, err
	}
	defer body.Close() //nolint:errcheck // read to its end, or given up
	n, err := readPack(body)
	if err != nil {
		return n, err
	}
	_, err = io.Copy(io.Discard, body)
	return n, err
}

// Begin begins a fetch and leaves the answer after its first bytes; close it.
func (w Web) Begin(ctx context.Context, want Want) (io.Closer, error) {
	id, err := w.List(ctx, want.Ref)
	if err != nil {
		return nil, err
	}
	body, err := w.post(ctx, "git-upload-pack", fetch(id, want))
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(body, make([]byte, 32<<10)); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// List asks for one reference.
func (w Web) List(ctx context.Context, ref string) (string, error) {
	if err := w.advertised(ctx, "git-upload-pack", skip); err != nil {
		return "", err
	}
	body, err := w.post(ctx, "git-upload-pack", lsRefs(ref))
	if err != nil {
		return "", err
	}
	defer body.Close() //nolint:errcheck // read to its end, or given up
	id, err := readRef(body, ref)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, body)
	return id, err
}

// Send pushes.
func (w Web) Send(ctx context.Context, push Push) error {
	if err := w.advertised(ctx, "git-receive-pack", skip); err != nil {
		return err
	}
	body, err := w.post(ctx, "git-receive-pack", push.request())
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read to its end, or given up
	return push.readReport(body)
}

// advertised reads what the server says of itself: with protocol v2 as use does,
// behind the announcement that some servers make (gitprotocol-v2(5), HTTP Transport).
func (w Web) advertised(ctx context.Context, service string, use func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/info/refs?service="+service, nil)
	if err != nil {
		return err
	}
	body, err := w.do(req)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read to its end, or given up
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	r := bytes.NewReader(raw)
	for r.Len() > 0 {
		if err := use(r); err != nil {
			return fmt.Errorf("info/refs: %w", err)
		}
	}
	return nil
}

func (w Web) post(ctx context.Context, service string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+"/"+service, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-"+service+"-request")
	req.Header.Set("Accept", "application/x-"+service+"-result")
	return w.do(req)
}

func (w Web) do(req *http.Request) (io.ReadCloser, error) {
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("User-Agent", "git/2.39.5")
	if w.User != "" {
		req.SetBasicAuth(w.User, w.Password)
	}
	res, err := w.Client.Do(req) //nolint:gosec // the servers that the run has started
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, res.Status, text), res.Body.Close())
	}
	return res.Body, nil
}
