package store

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the tag that object storage gives to a part
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// completion is the document that makes parts an object.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []part   `xml:"Part"`
}

type part struct {
	Number int    `xml:"PartNumber"`
	ETag   string `xml:"ETag"`
}

// saveParts stores in parts, each on disk until object storage has it: a part's
// length must be known too.
func (s *Store) saveParts(ctx context.Context, f *File, d Destination, src *source) error {
	o := d.RemoteObject
	ctx, cancel := context.WithTimeout(ctx, o.timeout())
	defer cancel()
	f.mode, f.ID, f.URL = modeParts, o.ID, o.GetURL
	f.discard = func() { s.deleteObject(ctx, o.DeleteURL, o.SkipDelete) }
	done, err := s.sendParts(ctx, d, src)
	if err == nil {
		err = s.complete(ctx, o.MultipartUpload.CompleteURL, done)
	}
	if err != nil {
		s.deleteObject(ctx, o.MultipartUpload.AbortURL, false)
		return err
	}
	return nil
}

func (s *Store) sendParts(ctx context.Context, d Destination, src *source) (completion, error) {
	m := d.RemoteObject.MultipartUpload
	var done completion
	for i, url := range m.PartURLs {
		n, etag, err := s.sendPart(ctx, d, url, io.LimitReader(src, m.PartSize), i == 0)
		if err != nil {
			return done, err
		}
		if n > 0 || i == 0 {
			done.Parts = append(done.Parts, part{Number: i + 1, ETag: `"` + etag + `"`})
		}
		if n < m.PartSize {
			return done, nil
		}
	}
	switch n, err := io.CopyN(io.Discard, src, 1); {
	case n > 0:
		return done, ErrTooLarge
	case errors.Is(err, io.EOF):
		return done, nil
	default:
		return done, err
	}
}

// sendPart sends the bytes of one part; none are sent only as the first part.
func (s *Store) sendPart(ctx context.Context, d Destination, url string, src io.Reader, first bool) (n int64, etag string, err error) {
	sum := md5.New() //nolint:gosec // the tag that object storage gives to a part
	file, n, err := s.spool(d, io.TeeReader(src, sum))
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if n == 0 && !first {
		return 0, "", nil
	}
	header := http.Header{}
	for name, value := range d.RemoteObject.PutHeaders {
		header.Set(name, value)
	}
	if etag, err = s.put(ctx, url, header, file, n); err == nil {
		err = sameTag(etag, hex.EncodeToString(sum.Sum(nil)))
	}
	return n, etag, err
}

// complete makes the parts an object. The answer can be a failure with the status
// 200, since it begins before the work is done.
func (s *Store) complete(ctx context.Context, url string, done completion) error {
	document, err := xml.Marshal(done)
	if err != nil {
		return fmt.Errorf("list of parts: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(document))
	if err != nil {
		return errors.New("rails-api gave a bad address to complete at")
	}
	req.Header.Set("Content-Type", "application/xml")
	res, err := s.send(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // what was wanted of it has been read
	if res.StatusCode != http.StatusOK {
		return refusal(res)
	}
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return fmt.Errorf("object storage: %w", err)
	}
	var answer struct{ XMLName xml.Name }
	if err := xml.Unmarshal(text, &answer); err != nil || answer.XMLName.Local != "CompleteMultipartUploadResult" {
		return fmt.Errorf("object storage did not complete: %.512q", text)
	}
	return nil
}
