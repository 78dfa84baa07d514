package pack

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/pktline"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// git says this to a client, in band 3 and on stderr, whenever what makes the pack
// has failed, also when it was the server that had no room for it.
const corrupt = "aborting due to possible repository corruption on the remote side."

// busy is for packs that the limits refused. Like ShortOfMemory it is not longer than
// what it replaces.
const busy = "the server makes too many packs for you: try again later"

// reason finds out why git failed, and tells the client that instead of git's guess.
type reason struct {
	git   Git
	begin time.Time
	mu    sync.Mutex
	said  []byte // the end of what git has said to the user
}

func newReason(git Git) *reason { return &reason{git: git, begin: time.Now()} }

// saidLimit is how much of what git says is kept; what matters comes at the end.
const saidLimit = 2 << 10

func (r *reason) hear(text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, text...)
	if extra := len(r.said) - saidLimit; extra > 0 {
		r.said = r.said[extra:]
	}
}

// text is what to tell the client, "" when git knows best.
func (r *reason) text() string {
	r.mu.Lock()
	said := string(r.said)
	r.mu.Unlock()
	switch {
	case strings.Contains(said, "fatal: Out of memory"), strings.Contains(said, "Cannot allocate memory"), r.git.OutOfMemory(r.begin):
		return gitcmd.ShortOfMemory
	case strings.Contains(said, "resource exhausted"): // gitaly-hooks, of a limit (wire/gitaly.md §6.7)
		return busy
	}
	return ""
}

// unsynced reports whether git failed to sync or write a file for a reason other than
// that there was no room: its words for fsync(2) and for EIO.
func (r *reason) unsynced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	said := string(r.said)
	return strings.Contains(said, "fsync error on ") || strings.Contains(said, ": Input/output error")
}

// explain gives the error of a git that failed the reason, where there is one.
func (r *reason) explain(err error) error {
	if text := r.text(); gitcmd.Exited(err, 128) && text != "" {
		return errs.Wrap(errs.Exhausted, text, err)
	}
	return err
}

// stderr is w with git's guess replaced. git writes a line at a time.
func (r *reason) stderr(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return writerFunc(func(p []byte) (int, error) {
		r.hear(p)
		out := p
		if bytes.Contains(p, []byte(corrupt)) {
			if text := r.text(); text != "" {
				out = bytes.ReplaceAll(p, []byte(corrupt), []byte(text))
			}
		}
		if _, err := w.Write(out); err != nil {
			return 0, err
		}
		return len(p), nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// bands passes git's side-band packets on, and tells in them why git failed: in place
// of its guess in band 3, padded to the same length so that nothing is held back, and
// after a report that nothing was unpacked.
type bands struct {
	w      io.Writer
	reason *reason
	head   []byte // length and band of the present packet, as far as known
	left   int    // bytes of its payload that are to come
	start  []byte // the first bytes of its payload
	text   []byte // what to write instead of the payload; nil is the payload
	lost   bool   // what comes are no packets
	// announced is set by the packet after which protocol 2 has the pack.
	announced bool
}

// between reports whether no packet is begun and not ended.
func (b *bands) between() bool { return b.left == 0 && len(b.head) == 0 && !b.lost }

// Write follows the packets; p itself is not changed.
func (b *bands) Write(p []byte) (int, error) {
	out, written := p, 0
	for i := 0; i < len(p) && !b.lost; {
		if b.left == 0 {
			b.head = append(b.head, p[i])
			i++
			b.begin()
			continue
		}
		n := min(b.left, len(p)-i)
		if b.text != nil {
			if &out[0] == &p[0] {
				out = bytes.Clone(p)
			}
			copy(out[i:i+n], b.text[len(b.text)-b.left:])
		}
		b.look(p[i : i+n])
		if i, b.left = i+n, b.left-n; b.left > 0 {
			continue
		}
		if note := b.end(); note != "" {
			if _, err := b.w.Write(out[written:i]); err != nil {
				return written, err
			}
			if written = i; pktline.Band(b.w, pktline.BandProgress, []byte(note)) != nil {
				return written, io.ErrShortWrite
			}
		}
	}
	n, err := b.w.Write(out[written:])
	return written + n, err
}

// begin decides about a packet once its length and band are known.
func (b *bands) begin() {
	if len(b.head) < 4 {
		return
	}
	n, err := strconv.ParseUint(string(b.head[:4]), 16, 16)
	switch size := int(n) - 5; { //nolint:gosec // 16 bits
	case err != nil:
		b.lost = true
	case size < 0, size == 0 && len(b.head) == 5: // flush and its kin, or nothing in the band
		b.head = b.head[:0]
	case len(b.head) < 5:
	case size == len(corrupt)+1 && b.head[4] == pktline.BandError: // with the NUL that git sends along
		if text := b.reason.text(); text != "" {
			b.text = fmt.Appendf(nil, "%-*s", size, text)
		}
		b.left = size
	default:
		b.left = size
	}
}

// look takes note of a part of the payload.
func (b *bands) look(part []byte) {
	switch b.head[4] {
	case pktline.BandProgress:
		b.reason.hear(part)
	case pktline.BandData, announcement[0]:
		if room := len("0000"+unpackOK) - len(b.start); room > 0 {
			b.start = append(b.start, part[:min(room, len(part))]...)
		}
	}
}

// unpackOK is what the report of a push begins with when its objects are there.
const unpackOK = reportStart + "ok"

// announcement is the packet after which protocol 2 has the pack.
const announcement = "packfile\n"

// end closes the packet and returns what to say after it.
func (b *bands) end() (note string) {
	b.announced = b.announced || b.head[4] == announcement[0] && string(b.start) == announcement[1:]
	if len(b.start) > 4 && bytes.HasPrefix(b.start[4:], []byte(reportStart)) && string(b.start[4:]) != unpackOK {
		if text := b.reason.text(); text != "" {
			note = "error: " + text + "\n"
		}
	}
	b.head, b.text, b.start = b.head[:0], nil, b.start[:0]
	return note
}
