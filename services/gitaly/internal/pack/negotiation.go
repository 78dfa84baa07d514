package pack

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"

	"gitsplit/proto/go/gitalypb"
)

// negotiation passes the stdin of upload-pack on and counts what the client says,
// up to "done" (wire/gitaly.md §5.9). Input that is no sequence of packets is
// passed on all the same; it is git that judges it.
type negotiation struct {
	r             io.Reader
	endsWithFlush bool // upload-archive: the flush packet is the end

	mu     sync.Mutex
	buf    []byte // the present packet, as far as it has come
	over   bool
	notify func()
	stats  gitalypb.PackfileNegotiationStatistics
}

// maxLine is the longest line that is looked at; wants and haves are short.
const maxLine = 4096

func newNegotiation(r io.Reader) *negotiation { return &negotiation{r: r} }

// onDone sets what to call when the client has come to the point.
func (n *negotiation) onDone(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notify = f
}

// settled ends the negotiation from the server's side.
func (n *negotiation) settled() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.over {
		n.end(true)
	}
}

// statistics returns what was counted so far.
func (n *negotiation) statistics() *gitalypb.PackfileNegotiationStatistics {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.stats
	return &gitalypb.PackfileNegotiationStatistics{
		PayloadSize: s.PayloadSize, Packets: s.Packets, Caps: s.Caps, Wants: s.Wants, Haves: s.Haves,
		Shallows: s.Shallows, Deepen: s.Deepen, Filter: s.Filter,
	}
}

// Read reads from the client.
func (n *negotiation) Read(p []byte) (int, error) {
	count, err := n.r.Read(p)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.feed(p[:count])
	return count, err
}

func (n *negotiation) feed(p []byte) {
	for len(p) > 0 && !n.over {
		if len(n.buf) < 4 {
			n.buf, p = append(n.buf, p[0]), p[1:]
			if len(n.buf) < 4 {
				continue
			}
		}
		size, err := strconv.ParseUint(string(n.buf[:4]), 16, 16)
		if err != nil || size > maxLine {
			n.end(false)
			return
		}
		want := max(int(size), 4) - len(n.buf) //nolint:gosec // 16 bits
		take := min(want, len(p))
		n.buf, p = append(n.buf, p[:take]...), p[take:]
		if take == want {
			n.packet(int(size), n.buf[4:]) //nolint:gosec // 16 bits
			n.buf = n.buf[:0]
		}
	}
}

// end stops counting. It is called with the lock held.
func (n *negotiation) end(done bool) {
	n.over, n.buf = true, nil
	if done && n.notify != nil {
		n.notify()
	}
}

func (n *negotiation) packet(size int, payload []byte) {
	line := string(bytes.TrimSuffix(payload, []byte("\n")))
	if size > 4 && line == "done" {
		n.end(true)
		return
	}
	n.stats.Packets++
	n.stats.PayloadSize += int64(len(line))
	if size == 0 && n.endsWithFlush {
		n.end(true)
		return
	}
	n.line(line)
}

func (n *negotiation) line(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "want":
		if _, caps, _ := strings.Cut(rest, " "); n.stats.Wants == 0 && caps != "" {
			n.stats.Caps = strings.Fields(caps)
		}
		n.stats.Wants++
	case "have":
		n.stats.Haves++
	case "shallow":
		n.stats.Shallows++
	case "filter":
		n.stats.Filter = rest
	case "deepen", "deepen-since", "deepen-not":
		n.stats.Deepen = line
	}
}
