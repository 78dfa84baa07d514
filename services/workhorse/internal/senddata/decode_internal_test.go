package senddata

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"gitsplit/proto/go/gitalypb"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	encode := func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }
	for name, tc := range map[string]struct {
		in string
		ok bool
	}{
		"object":          {encode(`{"RawDiffRequest":"x"}`), true},
		"any case":        {encode(`{"rawdiffREQUEST":"x"}`), true},
		"unknown key":     {encode(`{"RawDiffRequest":"x","New":[{}]}`), true},
		"line breaks":     {encode(`{"RawDiff`) + "\r\n" + encode(`Request":"x"}`), true},
		"URL alphabet":    {"eyJSYXdEaWZmUmVxdWVzdCI6Ing_fiJ9", true},
		"other alphabet":  {"eyJSYXdEaWZmUmVxdWVzdCI6Ing/fiJ9", false},
		"without padding": {strings.TrimRight(encode(`{"RawDiffRequest":"xx"}`), "="), false},
		"cut":             {encode(`{"RawDiffRequest":"x"`), false},
		"array":           {encode(`["x"]`), false},
		"second document": {encode(`{} {}`), false},
		"empty":           {"", false},
		"32 deep":         {encode(`{"New":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`), true},
		"33 deep":         {encode(`{"New":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`), false},
		"too long":        {encode(`{"New":"` + strings.Repeat("x", maxParams) + `"}`), false},
	} {
		var into struct{ RawDiffRequest string }
		if err := decode(tc.in, &into); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode: what is accepted is one JSON object within the bounds, and requests in
// it are decoded or refused, never half of both.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"RawDiffRequest":"{\"leftCommitId\":\"a\"}"}`, `{"GetArchiveRequest":"EgNhYmM="}`, `{"GitalyServer":{"address":"x","call_metadata":{"a":"b"}}}`,
		`{"GetBlobRequest":{"repository":{"storage_name":"d"},"oid":"0","limit":-1}}`, `[[[[`, `{"x":` + strings.Repeat("[", 60),
	} {
		f.Add(base64.URLEncoding.EncodeToString([]byte(s)))
	}
	f.Fuzz(func(t *testing.T, params string) {
		var p blobParams
		if err := decode(params, &p); err == nil {
			raw, err := base64.URLEncoding.DecodeString(params)
			if err != nil || len(params) > maxParams || !json.Valid(raw) {
				t.Errorf("accepted %q: %v", raw, err)
			}
		}
		var diff gitalypb.RawDiffRequest
		if err := message(params, &diff); err == nil && !json.Valid([]byte(params)) {
			t.Errorf("accepted %q", params)
		}
		var archive gitalypb.GetArchiveRequest
		_ = packed(params, &archive)
	})
}
