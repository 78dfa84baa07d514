package site

import (
	"net/url"
	"testing"
)

func TestSite(t *testing.T) {
	t.Parallel()
	for external, want := range map[string]string{
		"https://git.example.test":      "https://git.example.test/a/b.git",
		"http://git.example.test:8080/": "http://git.example.test:8080/a/b.git",
		"https://example.test/git":      "https://example.test/git/a/b.git",
	} {
		u, err := url.Parse(external)
		if err != nil {
			t.Fatal(err)
		}
		s := Site{External: u, SSHHost: "h", SSHUser: "git", SSHPort: 22}
		if got := s.Clone("http", "a/b"); got != want {
			t.Errorf("%s: %s", external, got)
		}
		if got := s.Clone("ssh", "a/b"); got != "git@h:a/b.git" {
			t.Errorf("port 22: %s", got)
		}
		s.SSHPort = 2222
		if got := s.Clone("ssh", "a/b"); got != "ssh://git@h:2222/a/b.git" {
			t.Errorf("port 2222: %s", got)
		}
	}
	s := Site{External: &url.URL{Scheme: "https", Host: "h"}}
	if got, want := s.NewMergeRequest("a/b", "x/y&z #ü"), "https://h/a/b/-/merge_requests/new?merge_request%5Bsource_branch%5D=x%2Fy%26z+%23%C3%BC"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
