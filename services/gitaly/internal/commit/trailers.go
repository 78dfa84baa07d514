package commit

import (
	"bytes"

	"gitsplit/proto/go/gitalypb"
)

// Trailers returns the "Key: value" lines of a message's last paragraph, if it
// consists of nothing else and is not the subject.
func Trailers(body []byte) []*gitalypb.CommitTrailer {
	body = bytes.TrimRight(body, "\n")
	i := bytes.LastIndex(body, []byte("\n\n"))
	if i < 0 {
		return nil
	}
	var trailers []*gitalypb.CommitTrailer
	for line := range bytes.SplitSeq(body[i+2:], []byte("\n")) {
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') && len(trailers) > 0 {
			last := trailers[len(trailers)-1]
			last.Value = append(append(last.Value, ' '), bytes.TrimSpace(line)...)
			continue
		}
		key, value, found := bytes.Cut(line, []byte(":"))
		if !found || !trailerKey(key) {
			return nil
		}
		trailers = append(trailers, &gitalypb.CommitTrailer{Key: key, Value: bytes.Clone(bytes.TrimSpace(value))})
	}
	return trailers
}

func trailerKey(key []byte) bool {
	for _, c := range key {
		alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !alnum && c != '-' {
			return false
		}
	}
	return len(key) > 0
}
