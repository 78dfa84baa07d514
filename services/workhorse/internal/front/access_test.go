package front

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The fields that GitLab's access lines have.
func TestFront_accessFields(t *testing.T) {
	t.Parallel()
	d := openDoor(t, false, "")
	d.raw(t, "POST /g/a.git/git-upload-pack?private_token=s3cret HTTP/1.1\r\nHost: gitlab.example\r\nUser-Agent: git/2\r\n"+
		"Referer: https://u:s3cret@x/y?token=s3cret&z=1\r\nContent-Length: 0\r\nContent-Type: application/x-git-upload-pack-request\r\n"+
		"Connection: User-Agent\r\n\r\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(d.log.String()), &got); err != nil {
		t.Fatalf("log %q: %v", d.log, err)
	}
	for name := range maps.Keys(got) {
		switch name {
		case "time", "started_at", "duration_ms", "ttfb_ms", "correlation_id", "remote_addr":
			if got[name] == nil || got[name] == "" {
				t.Errorf("%s is empty", name)
			}
			delete(got, name)
		}
	}
	want := map[string]any{
		"level": "INFO", "msg": "access", "service": "test", "system": "http", "host": "gitlab.example", "method": "POST",
		"uri": "/g/a.git/git-upload-pack?private_token=[FILTERED]", "path": "/g/a.git/git-upload-pack", "proto": "HTTP/1.1",
		"referrer": "https://[FILTERED]@x/y?token=[FILTERED]&z=1", "user_agent": "git/2", "remote_ip": "127.0.0.1",
		"route": "/:repository.git/git-upload-pack", "route_id": "/:repository.git/git-upload-pack", "backend_id": "gitaly",
		"status": 200.0, "content_type": "", "bytes_in": 0.0,
		"bytes_out": got["written_bytes"], "written_bytes": got["written_bytes"],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("access line (-want +got):\n%s", diff)
	}
	if strings.Contains(d.log.String(), "s3cret") {
		t.Error("a secret is in the log")
	}
}

func TestMaskURI(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                    "",
		"/a/b":                                "/a/b",
		"/a?x=1&y":                            "/a?x=1&y",
		"/a?RSS_Token=s&x=1":                  "/a?RSS_Token=[FILTERED]&x=1",
		"/a?%74oken=s":                        "/a?%74oken=[FILTERED]",
		"/a?%zz=s":                            "/a?%zz=[FILTERED]",
		"/a?x;password=s":                     "/a?x&password=[FILTERED]",
		"/a?X-Amz-Signature=s":                "/a?X-Amz-Signature=[FILTERED]",
		"/a?user[password]=s":                 "/a?user[password]=[FILTERED]",
		"https://u:p@h/a#token=s":             "https://[FILTERED]@h/a?",
		"https://u:p@q@h/a?b":                 "https://[FILTERED]@h/a?b",
		"http://h/?a=1&access_token=s&code=s": "http://h/?a=1&access_token=[FILTERED]&code=[FILTERED]",
	} {
		if got := maskURI(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A mask lets nothing of a secret through, whatever surrounds it.
func FuzzMaskURI(f *testing.F) {
	f.Add("/a?", "token", "&b=c")
	f.Add("https://h/a?x=y&", "private_token", "#f")
	f.Fuzz(func(t *testing.T, before, name, after string) {
		const secret = "Q7s3cr3tQ7"
		uri := before + "&" + name + "=" + secret + after
		_, query, _ := strings.Cut(before, "?")
		if !strings.Contains(before, "?") || strings.ContainsAny(before+name, "#") || strings.ContainsAny(name, "&;=") || strings.Contains(query, secret) ||
			!slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(strings.ToLower(name), w) }) {
			return
		}
		if got := maskURI(uri); strings.Contains(got, secret) {
			t.Errorf("%q is shown as %q", uri, got)
		}
	})
}
