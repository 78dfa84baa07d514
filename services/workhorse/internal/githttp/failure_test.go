package githttp

import (
	"bytes"
	"strings"
	"testing"

	"gitsplit/kit/pktline"
)

// packets reads pkt-lines to their end; a flush is "".
func packets(t *testing.T, text []byte) []string {
	t.Helper()
	s := pktline.NewScanner(bytes.NewReader(text))
	defer s.Close()
	var got []string
	for s.Scan() {
		got = append(got, string(s.Payload()))
	}
	if err := s.Err(); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return got
}

// Whatever the id is, git reads the errors as what they are.
func FuzzBusy(f *testing.F) {
	f.Add("01JABC")
	f.Add("")
	f.Add("0000\n\x00\xff")
	f.Fuzz(func(t *testing.T, id string) {
		if len(id) > 128 { // correlation.Valid
			return
		}
		text := "GitLab is currently unable to handle this request due to load (ID " + id + ").\n"
		var fetch, push bytes.Buffer
		if err := busyFetch(&fetch, id); err != nil {
			t.Fatal(err)
		}
		if got := packets(t, fetch.Bytes()); len(got) != 1 || got[0] != "ERR "+text {
			t.Errorf("fetch: %q", got)
		}
		if err := busyPush(&push, id); err != nil {
			t.Fatal(err)
		}
		got := packets(t, push.Bytes())
		if len(got) != 3 || got[1] != "\x02"+text || got[2] != "" {
			t.Fatalf("push: %q", got)
		}
		report, ok := strings.CutPrefix(got[0], "\x01")
		if inner := packets(t, []byte(report)); !ok || len(inner) != 2 || inner[0] != "unpack server is busy\n" || inner[1] != "" {
			t.Errorf("report of a push: %q", got[0])
		}
	})
}
