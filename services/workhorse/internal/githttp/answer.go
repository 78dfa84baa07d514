package githttp

import (
	"io"
	"net/http"
)

// answer is a response that begins with its first byte: until then it can still
// become an error.
type answer struct {
	w           http.ResponseWriter
	rc          *http.ResponseController
	contentType string
	body        io.Writer // what Write writes to; w, or a compressor on it
	begun       bool
	tail        [4]byte // the last bytes
}

func newAnswer(w http.ResponseWriter, contentType string) *answer {
	return &answer{w: w, rc: http.NewResponseController(w), contentType: contentType, body: w}
}

// smallWrite is the size below which a write is taken for a message to a person,
// to be sent at once, rather than a piece of a pack.
const smallWrite = 16 << 10

// Write sends p. Not safe for concurrent use.
func (a *answer) Write(p []byte) (int, error) {
	a.begin()
	n, err := a.body.Write(p)
	a.note(p[:n])
	if err == nil && len(p) < smallWrite {
		err = a.rc.Flush()
	}
	return n, err
}

// begin sends the headers of a good answer (security-baseline.md H5).
func (a *answer) begin() {
	if a.begun {
		return
	}
	a.begun = true
	h := a.w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	h.Set("X-Content-Type-Options", "nosniff")
	a.w.WriteHeader(http.StatusOK)
}

// fail answers with an error in plain text, or without body for text "". It does
// nothing once the answer has begun.
func (a *answer) fail(status int, text string) {
	if a.begun {
		return
	}
	a.begun = true
	a.w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	if text == "" {
		a.w.WriteHeader(status)
		return
	}
	http.Error(a.w, text, status)
}

func (a *answer) note(p []byte) {
	kept := copy(a.tail[:], a.tail[min(len(p), len(a.tail)):])
	copy(a.tail[kept:], p[max(0, len(p)-len(a.tail)):])
}

// whole reports whether the answer ends as git's answers do: with a flush packet. So
// it may although gitaly then reports a failure, that git ended with an exit code.
func (a *answer) whole() bool { return string(a.tail[:]) == "0000" }

// cut ends a begun answer that will not be whole, such that the client knows: it
// breaks the connection. Behind an end that looks good, git push and git fetch before
// protocol 2 would wait for the rest for ever, for git's HTTP helper then waits for its
// next request. (wire/workhorse.md §3.3 has GitLab's workhorse end it cleanly.)
func (a *answer) cut() {
	_ = a.rc.Flush() // what git said comes first
	panic(http.ErrAbortHandler)
}
