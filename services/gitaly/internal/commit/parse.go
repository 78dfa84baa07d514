// Package commit reads commits: one, a history, and how commits relate. Its results
// are the wire's messages, for nothing would be gained by another shape.
package commit

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/proto/go/gitalypb"
)

// maxBody is how much of a message is sent with a commit or tag, as in GitLab's own
// server; body_size tells the whole length, and CopyMessage has the rest.
const maxBody = 10 << 10

// errMalformed is an object that git would not call a commit.
var errMalformed = errors.New("malformed object")

// Parse reads a raw commit object.
func Parse(oid string, raw []byte) (*gitalypb.GitCommit, error) {
	c, _, err := parse(oid, raw)
	return c, err
}

// parse also returns the whole message.
func parse(oid string, raw []byte) (c *gitalypb.GitCommit, message []byte, err error) {
	c = &gitalypb.GitCommit{Id: oid}
	body, err := headers(raw, func(key, value string) {
		switch key {
		case "tree":
			c.TreeId = value
		case "parent":
			c.ParentIds = append(c.ParentIds, value)
		case "author":
			c.Author = ParseAuthor(value)
		case "committer":
			c.Committer = ParseAuthor(value)
		case "encoding":
			c.Encoding = value
		}
		if isSignature(key) && (c.GetSignatureType() == gitalypb.SignatureType_NONE || key == signatureHeader(oid)) {
			c.SignatureType = SignatureType(value)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	subject, _, _ := bytes.Cut(body, []byte("\n"))
	c.Subject, c.BodySize = subject, int64(len(body))
	c.Body = bytes.Clone(body[:min(len(body), maxBody)]) // not to hold all of it
	return c, body, nil
}

// headers calls each for the lines before the empty one, continuation lines
// joined, and returns what follows.
func headers(raw []byte, each func(key, value string)) (body []byte, err error) {
	var key, value string
	flush := func() {
		if key != "" {
			each(key, value)
		}
	}
	for len(raw) > 0 {
		line, rest, found := bytes.Cut(raw, []byte("\n"))
		if !found {
			return nil, errMalformed
		}
		raw = rest
		switch {
		case len(line) == 0:
			flush()
			return raw, nil
		case line[0] == ' ':
			value += "\n" + string(line[1:])
		default:
			flush()
			key, value, _ = strings.Cut(string(line), " ")
		}
	}
	flush()
	return nil, nil
}

// ParseAuthor reads "Name <mail> <seconds> <zone>". What is missing stays empty: git
// itself has written stranger things.
func ParseAuthor(line string) *gitalypb.CommitAuthor {
	a := &gitalypb.CommitAuthor{}
	name, rest, found := strings.Cut(line, "<")
	if !found {
		a.Name = []byte(line)
		return a
	}
	a.Name = []byte(strings.TrimSpace(name))
	mail, when, _ := strings.Cut(rest, ">")
	a.Email = []byte(mail)
	fields := strings.Fields(when)
	if len(fields) > 0 {
		if sec, err := strconv.ParseInt(fields[0], 10, 64); err == nil && sec <= maxSeconds && sec >= -maxSeconds {
			a.Date = &timestamppb.Timestamp{Seconds: sec}
		}
	}
	if len(fields) > 1 {
		a.Timezone = []byte(fields[1])
	}
	return a
}

// maxSeconds is the end of the year 9999, where Timestamp ends.
const maxSeconds = 253402300799

// ParseTag reads a raw tag object into a Tag without name and commit; target is the
// id of what it points at.
func ParseTag(oid string, raw []byte) (tag *gitalypb.Tag, target string, err error) {
	tag = &gitalypb.Tag{Id: oid}
	body, err := headers(raw, func(key, value string) {
		switch key {
		case "object":
			target = value
		case "tagger":
			tag.Tagger = ParseAuthor(value)
		}
	})
	if err != nil {
		return nil, "", err
	}
	_, signature := SplitTag(body)
	tag.SignatureType = SignatureType(string(signature))
	tag.MessageSize = int64(len(body))
	tag.Message = bytes.Clone(bytes.TrimSuffix(body[:min(len(body), maxBody)], []byte("\n")))
	return tag, target, nil
}
