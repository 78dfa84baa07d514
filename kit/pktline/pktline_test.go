package pktline_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"gitsplit/kit/pktline"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, err := range []error{
		pktline.Write(&b, []byte("hello")),
		pktline.Write(&b, nil),
		pktline.Band(&b, pktline.BandProgress, []byte("x")),
		pktline.Delim(&b),
		pktline.Flush(&b),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := b.String(), "0009hello00040006\x02x00010000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWrite_limits(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := pktline.Write(&b, make([]byte, pktline.MaxPayload)); err != nil || !strings.HasPrefix(b.String(), "fff0") {
		t.Errorf("longest packet: %v, begins with %q", err, b.String()[:4])
	}
	if err := pktline.Write(&b, make([]byte, pktline.MaxPayload+1)); !errors.Is(err, pktline.ErrTooLong) {
		t.Errorf("packet too long: %v", err)
	}
	if err := pktline.Band(&b, 1, make([]byte, pktline.MaxBandData+1)); !errors.Is(err, pktline.ErrTooLong) {
		t.Errorf("band packet too long: %v", err)
	}
}

func TestWriter_roundTrip(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789"), 20_000) // more than three packets
	copies := map[string]func(w *pktline.Writer) error{
		"write":     func(w *pktline.Writer) error { _, err := w.Write(data); return err },
		"read from": func(w *pktline.Writer) error { _, err := io.Copy(w, bytes.NewReader(data)); return err },
		"bytes": func(w *pktline.Writer) error {
			_, err := w.ReadFrom(iotest.OneByteReader(bytes.NewReader(data)))
			return err
		},
	}
	for name, fill := range copies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			w := pktline.NewWriter(&b)
			if err := errors.Join(fill(w), w.Flush()); err != nil {
				t.Fatal(err)
			}
			b.WriteString("behind")
			got, err := io.ReadAll(pktline.NewReader(&b))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %d bytes, want %d: %v", len(got), len(data), err)
			}
			if b.String() != "behind" {
				t.Errorf("bytes after the flush packet were read: %q is left", b.String())
			}
		})
	}
}

func TestReader_errors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want, text string }{
		{name: "marker 1", in: "0001", text: "invalid header 1"},
		{name: "marker 2", in: "0006ab0002", want: "ab", text: "invalid header 2"},
		{name: "marker 3", in: "0003", text: "invalid header 3"},
		{name: "above the limit", in: "fff1", text: "invalid header 65521"},
		{name: "no hex", in: "00-9hello", text: `invalid packet length "00-9"`},
		{name: "no flush", in: "0009hello", want: "hello", text: "unexpected EOF"},
		{name: "nothing", in: "", text: "unexpected EOF"},
		{name: "cut in the header", in: "00", text: "unexpected EOF"},
		{name: "cut in the payload", in: "0009he", want: "he", text: "unexpected EOF"},
		{name: "empty packets are skipped", in: "000400040005x0000", want: "x"},
		{name: "upper case", in: "000Aabcdef0000", want: "abcdef"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := pktline.NewReader(strings.NewReader(tc.in))
			got, err := io.ReadAll(r)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if string(got) != tc.want || text != tc.text {
				t.Errorf("got %q, %q; want %q, %q", got, text, tc.want, tc.text)
			}
			if _, again := r.Read(make([]byte, 1)); err != nil && !errors.Is(again, err) {
				t.Errorf("the second error is %v, want %v", again, err)
			}
		})
	}
}

func TestScanner(t *testing.T) {
	t.Parallel()
	s := pktline.NewScanner(strings.NewReader("0009hello0001000400020000"))
	defer s.Close()
	type packet struct {
		kind pktline.Kind
		text string
	}
	want := []packet{{pktline.Data, "hello"}, {pktline.DelimPkt, ""}, {pktline.Data, ""}, {pktline.ResponseEnd, ""}, {pktline.FlushPkt, ""}}
	for _, w := range want {
		if !s.Scan() || s.Kind() != w.kind || string(s.Payload()) != w.text {
			t.Fatalf("got %v %q, want %v: %v", s.Kind(), s.Payload(), w, s.Err())
		}
	}
	if s.Scan() || s.Err() != nil {
		t.Errorf("at the end: %v", s.Err())
	}
}

func TestScanner_errors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0003": "invalid header 3", "ffff": "invalid header 65535", "00": "unexpected EOF", "0006a": "unexpected EOF",
		"0006": "unexpected EOF", "zzzz": `invalid packet length "zzzz"`,
	} {
		s := pktline.NewScanner(strings.NewReader(in))
		if s.Scan() || s.Err() == nil || s.Err().Error() != want {
			t.Errorf("%q: got %v, want %s", in, s.Err(), want)
		}
		s.Close()
		s.Close()
		if s.Scan() {
			t.Errorf("%q: scan after close", in)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriter_errors(t *testing.T) {
	t.Parallel()
	w := pktline.NewBandWriter(failing{}, pktline.BandData)
	if n, err := w.Write([]byte("x")); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write: %d, %v", n, err)
	}
	if _, err := w.ReadFrom(strings.NewReader("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("copy to a closed pipe: %v", err)
	}
	if _, err := pktline.NewWriter(io.Discard).ReadFrom(iotest.ErrReader(io.ErrNoProgress)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("copy from a broken reader: %v", err)
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{"0009hello0000", "0001", "0003", "fff0", "ffff", "", "0006\x01x", "000G"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := pktline.NewScanner(bytes.NewReader(in))
		defer s.Close()
		read := 0
		for s.Scan() {
			read += 4 + len(s.Payload())
		}
		if read > len(in) || (s.Err() == nil && read != len(in)) {
			t.Fatalf("%q: packets of %d bytes, %v", in, read, s.Err())
		}
	})
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{"0009hello0000", "0009hello", "0001", "0004", "fff1", "0005"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := io.ReadAll(pktline.NewReader(bytes.NewReader(in)))
		if err != nil {
			return
		}
		var b bytes.Buffer // what was accepted can be framed again, with the same meaning
		w := pktline.NewWriter(&b)
		if _, err := w.Write(got); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again, err := io.ReadAll(pktline.NewReader(&b))
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q became %q: %v", got, again, err)
		}
	})
}
