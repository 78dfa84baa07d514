package streamio_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"gitsplit/kit/streamio"
)

func messages(end error, chunks ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(chunks) == 0 {
			return nil, end
		}
		c := chunks[0]
		chunks = chunks[1:]
		return []byte(c), nil
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	if err := iotest.TestReader(streamio.NewReader(messages(io.EOF, "ab", "", "cdef", "")), []byte("abcdef")); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	n, err := io.Copy(&b, streamio.NewReader(messages(io.EOF, "ab", "", "c")))
	if n != 3 || err != nil || b.String() != "abc" {
		t.Errorf("copied %d, %v, %q", n, err, b.String())
	}
}

func TestReader_errors(t *testing.T) {
	t.Parallel()
	r := streamio.NewReader(messages(io.ErrNoProgress, "ab"))
	if b, err := io.ReadAll(struct{ io.Reader }{r}); string(b) != "ab" || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("read %q, %v", b, err)
	}
	r = streamio.NewReader(messages(io.ErrNoProgress, "ab"))
	if n, err := io.Copy(io.Discard, r); n != 2 || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("copied %d, %v", n, err)
	}
	pr, pw := io.Pipe()
	_ = pr.Close()
	if n, err := io.Copy(pw, streamio.NewReader(messages(io.EOF, "ab"))); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("copied %d to a closed pipe, %v", n, err)
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("x"), 3*streamio.MaxChunk+7)
	for name, write := range map[string]func(w io.Writer) error{
		"write": func(w io.Writer) error { _, err := w.Write(data); return err },
		"copy":  func(w io.Writer) error { _, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(data)}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []byte
			err := write(streamio.NewWriter(func(b []byte) error {
				if len(b) == 0 || len(b) > streamio.MaxChunk {
					t.Errorf("a message of %d bytes", len(b))
				}
				got = append(got, b...)
				return nil
			}))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("sent %d bytes of %d, %v", len(got), len(data), err)
			}
		})
	}
}

func TestWriter_errors(t *testing.T) {
	t.Parallel()
	w := streamio.NewWriter(func([]byte) error { return io.ErrClosedPipe })
	if n, err := w.Write([]byte("x")); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write: %d, %v", n, err)
	}
	if _, err := io.Copy(w, strings.NewReader("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("copy: %v", err)
	}
	if _, err := io.Copy(w, iotest.ErrReader(io.ErrNoProgress)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("copy from a broken reader: %v", err)
	}
}
