package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"gitsplit/services/gitaly/internal/api"
)

// octets is text in any encoding, names of references and paths, which JSON would change.
type octets string

// MarshalJSON writes base64.
func (o octets) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(o)) }

// UnmarshalJSON reads it.
func (o *octets) UnmarshalJSON(raw []byte) error {
	var b []byte
	err := json.Unmarshal(raw, &b)
	*o = octets(b)
	return err
}

// record is a push as the journal keeps it: what post_receive needs.
type record struct {
	ID            string    `json:"id"`
	Path          octets    `json:"path"` // of the repository, relative to the storage
	At            time.Time `json:"at"`
	GLRepository  string    `json:"gl_repository"`
	GLID          string    `json:"gl_id"`
	Protocol      string    `json:"protocol"`
	Changes       octets    `json:"changes"`
	Options       []string  `json:"options,omitempty"`
	ClientContext []byte    `json:"client_context,omitempty"`
	RemoteIP      string    `json:"remote_ip,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
}

func newRecord(p api.Push, correlationID string, now time.Time) *record {
	return &record{
		ID: p.ID, Path: octets(p.RelativePath), At: now.UTC(), GLRepository: p.GLRepository, GLID: p.GLID, Protocol: p.Protocol,
		Changes: octets(p.Changes), Options: p.Options, ClientContext: p.ClientContext, RemoteIP: p.RemoteIP, CorrelationID: correlationID,
	}
}

// overhead is about what a record has besides what its pusher chose.
const overhead = 512

// size is about what a record takes, in bytes.
func (r *record) size() int64 {
	n := len(r.Changes) + len(r.ClientContext) + overhead
	for _, o := range r.Options {
		n += len(o)
	}
	return int64(n)
}

// push is what the API is told, with the changes that have come to pass.
func (r *record) push(changes octets) api.Push {
	return api.Push{
		ID: r.ID, RelativePath: string(r.Path), GLRepository: r.GLRepository, GLID: r.GLID, Protocol: r.Protocol,
		Changes: string(changes), Options: r.Options, ClientContext: r.ClientContext, RemoteIP: r.RemoteIP,
	}
}

// line is one entry of the file. Exactly one of Begin, Settled and End is set.
type line struct {
	Begin *record `json:"begin,omitempty"`
	// Settled is the id of a push of which it is known what moved: Changes, or all
	// that it had begun with.
	Settled string `json:"settled,omitempty"`
	All     bool   `json:"all,omitempty"`
	Changes octets `json:"changes,omitempty"`
	End     string `json:"end,omitempty"` // the id of a push that is done with
}

// encode is the line with a check sum before it: a crash may leave half of one.
func (l line) encode() ([]byte, error) {
	raw, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode journal record: %w", err)
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(raw), raw), nil
}

// decode reads an encoded line without its newline.
func decode(text []byte) (line, error) {
	sum, raw, _ := bytes.Cut(text, []byte(" "))
	if string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(raw)) {
		return line{}, fmt.Errorf("check sum of a journal record is wrong")
	}
	var l line
	if err := json.Unmarshal(raw, &l); err != nil {
		return line{}, fmt.Errorf("decode journal record: %w", err)
	}
	return l, nil
}
