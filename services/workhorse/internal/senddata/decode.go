package senddata

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Bounds of what rails-api may say in a header.
const (
	maxParams = 64 << 10
	maxDepth  = 32
)

// decode reads the parameters of an answer: base64 for URLs, with padding, of one
// JSON object. Ruby's line breaks in the base64 are fine. Unknown keys are ignored,
// as rails-api may be newer (wire/workhorse.md §5.1).
func decode(params string, into any) error {
	if len(params) > maxParams {
		return fmt.Errorf("decode parameters: %d bytes are too many", len(params))
	}
	raw, err := base64.URLEncoding.DecodeString(params)
	if err != nil {
		return fmt.Errorf("decode parameters: %w", err)
	}
	if depth(raw) > maxDepth {
		return fmt.Errorf("decode parameters: deeper than %d", maxDepth)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("decode parameters: %w", err)
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // json returns it bare
		return fmt.Errorf("decode parameters: data after the document")
	}
	return nil
}

// depth is an upper bound of the nesting: brackets in strings count as well.
func depth(raw []byte) int {
	deepest, now := 0, 0
	for _, c := range raw {
		switch c {
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		}
	}
	return deepest
}

// message reads a request of gitaly that stands in the parameters as text: protobuf's
// JSON (wire/workhorse.md §5.1, "pj").
func message(text string, into proto.Message) error {
	if text == "" {
		return fmt.Errorf("decode parameters: no %s", into.ProtoReflect().Descriptor().Name())
	}
	o := protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxDepth}
	if err := o.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("decode parameters: %w", err)
	}
	return nil
}

// packed reads a request of gitaly that stands in the parameters as base64 of its
// wire form.
func packed(text string, into proto.Message) error {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = proto.UnmarshalOptions{RecursionLimit: maxDepth}.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("decode parameters: %w", err)
	}
	return nil
}
