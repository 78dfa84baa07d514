package gitwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gitsplit/kit/pktline"
)

// Push is references that move, with the pack of what is new.
type Push struct {
	Updates []Update
	Pack    []byte
}

// Update is one reference that moves.
type Update struct{ Ref, Old, New string }

// Move is the push of one reference.
func Move(ref, from, to string, pack []byte) Push {
	return Push{Updates: []Update{{ref, from, to}}, Pack: pack}
}

// Send pushes over a pipe to `git receive-pack` and returns when the server has
// reported success and ended.
func Send(p Pipe, push Push) error {
	if err := skip(p); err != nil { // its references
		return fmt.Errorf("read the references: %w", err)
	}
	if _, err := p.Write(push.request()); err != nil {
		return err
	}
	if err := p.CloseWrite(); err != nil {
		return err
	}
	return push.readReport(p)
}

func (push Push) request() []byte {
	var b bytes.Buffer
	capabilities := "\x00 report-status side-band-64k object-format=sha1 " + agent
	for _, u := range push.Updates {
		line(&b, u.Old+" "+u.New+" "+u.Ref+capabilities)
		capabilities = ""
	}
	_ = pktline.Flush(&b) // to memory
	b.Write(push.Pack)
	return b.Bytes()
}

// readReport reads the side-band up to the end and looks for git's `ok` of each reference.
func (push Push) readReport(r io.Reader) error {
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
	for _, u := range push.Updates {
		if !said["unpack ok"] || !said["ok "+u.Ref] {
			return fmt.Errorf("the server reports %.1000s", fmt.Sprint(said))
		}
	}
	if _, err = io.Copy(io.Discard, r); err != nil {
		return errors.Join(errors.New("read to the end"), err)
	}
	return nil
}
