package gitwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gitsplit/kit/pktline"
)

// Update is one reference that moves, with the pack of what is new.
type Update struct {
	Ref, Old, New string
	Pack          []byte
}

// Send pushes over a pipe to `git receive-pack` and returns when the server has
// reported success and ended.
func Send(p Pipe, u Update) error {
	if err := skip(p); err != nil { // its references
		return fmt.Errorf("read the references: %w", err)
	}
	if _, err := p.Write(u.request()); err != nil {
		return err
	}
	if err := p.CloseWrite(); err != nil {
		return err
	}
	return readReport(p, u.Ref)
}

func (u Update) request() []byte {
	var b bytes.Buffer
	line(&b, fmt.Sprintf("%s %s %s\x00 report-status side-band-64k object-format=sha1 %s", u.Old, u.New, u.Ref, agent))
	_ = pktline.Flush(&b) // to memory
	b.Write(u.Pack)
	return b.Bytes()
}

// readReport reads the side-band up to the end and looks for git's `ok`.
func readReport(r io.Reader, ref string) error {
	var report bytes.Buffer
	err := each(r, func(p []byte) error {
		if len(p) > 0 && p[0] == pktline.BandData {
			report.Write(p[1:])
		} else if len(p) > 0 && p[0] == pktline.BandError {
			return fmt.Errorf("the server says: %s", p[1:])
		}
		return nil
	})
	if err != nil {
		return err
	}
	said := map[string]bool{}
	if err := each(&report, func(p []byte) error { said[strings.TrimSpace(string(p))] = true; return nil }); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	if !said["unpack ok"] || !said["ok "+ref] {
		return fmt.Errorf("the server reports %v", said)
	}
	if _, err = io.Copy(io.Discard, r); err != nil {
		return errors.Join(errors.New("read to the end"), err)
	}
	return nil
}
