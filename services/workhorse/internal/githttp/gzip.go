package githttp

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"gitsplit/kit/logging"
)

// Inflate gives next a plain request body. Other encodings than gzip, and what
// only claims to be gzip, are refused before rails-api is asked
// (wire/workhorse.md §3.3). The inflated body ends with an error past maxBytes, or
// when it outgrows what was sent by more than the ratio (security-baseline.md H3).
func (s *Service) Inflate(maxBytes int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encodings := r.Header.Values("Content-Encoding")
		if len(encodings) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		err := fmt.Errorf("content encoding %q", encodings)
		if len(encodings) == 1 && strings.EqualFold(encodings[0], "gzip") {
			err = s.inflate(r, maxBytes)
		}
		if err != nil {
			s.Log.InfoContext(r.Context(), "cannot inflate a request body", slog.Any(logging.KeyError, err))
			w.Header().Set("Connection", "close")
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Service) inflate(r *http.Request, maxBytes int64) error {
	counted := &countingReader{r: r.Body}
	zr, err := gzip.NewReader(bufio.NewReaderSize(counted, 4096))
	if err != nil {
		return err
	}
	inflated := &inflatedBody{zr: zr, raw: counted, Closer: r.Body, ratio: s.Limits.InflateRatio}
	r.Body = inflated
	limit(r, maxBytes)
	r.Header.Del("Content-Encoding")
	r.Header.Del("Content-Length")
	r.ContentLength = -1
	return nil
}

// slack is what any body may inflate to, whatever its ratio.
const slack = 1 << 20

// inflatedBody reads to the very end of the request: gzip data may follow gzip
// data, and nothing else may.
type inflatedBody struct {
	zr  *gzip.Reader
	raw *countingReader
	io.Closer
	ratio int64
	n     int64
}

func (b *inflatedBody) Read(p []byte) (int, error) {
	n, err := b.zr.Read(p)
	b.n += int64(n)
	if b.ratio > 0 && b.n > slack+b.ratio*b.raw.n {
		return 0, fmt.Errorf("%w: it inflates by more than %d", errTooLarge, b.ratio)
	}
	return n, err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
