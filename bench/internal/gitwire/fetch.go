// Package gitwire speaks just enough of git's wire protocol to fetch and to push
// without a git on the client's side (gitprotocol-v2(5), gitprotocol-pack(5)): what is
// measured is then the server. Packs that come are counted and thrown away.
//
// A conversation goes over a Pipe, which SSH sessions and local processes are, or over
// HTTP, with the same requests.
package gitwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gitsplit/kit/pktline"
)

const agent = "agent=git/2.39.5-bench"

// Pipe is a conversation with a git process at the other end.
type Pipe interface {
	io.Reader
	io.Writer
	CloseWrite() error
}

// Want says what to fetch.
type Want struct {
	Ref     string // only this reference is listed, and fetched
	Shallow bool   // its newest commit only
	Have    string // a commit that the client has already; "" for none
}

// Fetch fetches over a pipe to `git upload-pack` with protocol v2 and returns the
// size of the pack.
func Fetch(p Pipe, w Want) (int64, error) {
	if err := skip(p); err != nil { // the server's capabilities
		return 0, fmt.Errorf("read the capabilities: %w", err)
	}
	if _, err := p.Write(lsRefs(w.Ref)); err != nil {
		return 0, err
	}
	id, err := readRef(p, w.Ref)
	if err != nil {
		return 0, err
	}
	if _, err := p.Write(fetch(id, w)); err != nil {
		return 0, err
	}
	n, err := readPack(p)
	if err != nil {
		return n, err
	}
	if err := p.CloseWrite(); err != nil {
		return n, err
	}
	_, err = io.Copy(io.Discard, p)
	return n, err
}

// List lists the reference over a pipe, as `git ls-remote` does, and ends.
func List(p Pipe, ref string) (string, error) {
	if err := skip(p); err != nil {
		return "", fmt.Errorf("read the capabilities: %w", err)
	}
	if _, err := p.Write(lsRefs(ref)); err != nil {
		return "", err
	}
	id, err := readRef(p, ref)
	if err != nil {
		return "", err
	}
	if err := p.CloseWrite(); err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, p)
	return id, err
}

func lsRefs(ref string) []byte {
	var b bytes.Buffer
	line(&b, "command=ls-refs\n")
	line(&b, agent)
	line(&b, "object-format=sha1")
	_ = pktline.Delim(&b) // to memory
	line(&b, "ref-prefix "+ref+"\n")
	_ = pktline.Flush(&b)
	return b.Bytes()
}

func fetch(id string, w Want) []byte {
	var b bytes.Buffer
	line(&b, "command=fetch")
	line(&b, agent)
	line(&b, "object-format=sha1")
	_ = pktline.Delim(&b) // to memory
	line(&b, "thin-pack")
	line(&b, "no-progress")
	line(&b, "include-tag")
	line(&b, "ofs-delta")
	if w.Shallow {
		line(&b, "deepen 1")
	}
	line(&b, "want "+id+"\n")
	if w.Have != "" {
		line(&b, "have "+w.Have+"\n")
	}
	line(&b, "done\n")
	_ = pktline.Flush(&b)
	return b.Bytes()
}

// line writes to memory, where nothing fails, and lines are short.
func line(b *bytes.Buffer, s string) { _ = pktline.Write(b, []byte(s)) }

// skip reads to the next flush.
func skip(r io.Reader) error {
	return each(r, func([]byte) error { return nil })
}

// each calls use for the packets up to the next flush.
func each(r io.Reader, use func([]byte) error) error {
	s := pktline.NewScanner(r)
	defer s.Close()
	for s.Scan() {
		if s.Kind() == pktline.FlushPkt {
			return nil
		}
		if text, refused := strings.CutPrefix(string(s.Payload()), "ERR "); refused {
			return errors.New("the server says: " + strings.TrimSpace(text))
		}
		if err := use(s.Payload()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

func readRef(r io.Reader, ref string) (id string, err error) {
	err = each(r, func(p []byte) error {
		if at, name, _ := strings.Cut(strings.TrimSpace(string(p)), " "); name == ref {
			id = at
		}
		return nil
	})
	if err == nil && id == "" {
		err = fmt.Errorf("the server has no %s", ref)
	}
	return id, err
}

// readPack reads the answer to a fetch up to its flush and counts the pack's bytes.
func readPack(r io.Reader) (n int64, err error) {
	inPack := false
	err = each(r, func(p []byte) error {
		switch {
		case !inPack:
			inPack = string(p) == "packfile\n"
		case len(p) > 0 && p[0] == pktline.BandData:
			if n == 0 && len(p) > 1 && !bytes.HasPrefix(p[1:], []byte("PACK")) { // an empty one keeps the connection alive
				return fmt.Errorf("no pack but %.20q", p[1:])
			}
			n += int64(len(p) - 1)
		case len(p) > 0 && p[0] == pktline.BandError:
			return fmt.Errorf("the server says: %s", p[1:])
		}
		return nil
	})
	if err == nil && n == 0 {
		err = errors.New("the answer has no pack")
	}
	return n, err
}
