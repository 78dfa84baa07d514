package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/uploaded/uploadedtest"
)

func workhorseKey() []byte { return bytes.Repeat([]byte{7}, 32) }

func uploadsOf(p project.Project) string { return fmt.Sprintf("/api/v4/projects/%d/uploads", p.ID) }

// authorize asks as workhorse whether a file may be attached.
func (c client) authorize(p project.Project) *answer {
	c.b.tb.Helper()
	r := httptest.NewRequestWithContext(c.b.tb.Context(), http.MethodPost, uploadsOf(p)+"/authorize", http.NoBody)
	r.Header.Set("Private-Token", c.token)
	return c.b.serve(uploadedtest.Sign(c.b.tb, workhorseKey(), r))
}

// attach sends a file as workhorse does after it has stored it.
func (c client) attach(p project.Project, field, name, content string) *answer {
	c.b.tb.Helper()
	d, err := c.b.files.Destination(c.b.tb.Context(), 0)
	c.b.must(err)
	fields := uploadedtest.Store(c.b.tb, d.TempPath, name, content)
	r := uploadedtest.Request(c.b.tb, workhorseKey(), http.MethodPost, uploadsOf(p), field, fields)
	r.Header.Set("Private-Token", c.token)
	return c.b.serve(r)
}

// fetch asks for an address of the site.
func (c client) fetch(path string) *answer {
	c.b.tb.Helper()
	r := httptest.NewRequestWithContext(c.b.tb.Context(), http.MethodGet, path, http.NoBody)
	r.Header.Set("Private-Token", c.token)
	return c.b.serve(r)
}

type attached struct {
	ID                           int64
	Alt, URL, Markdown, FullPath string
}

func (a *attached) UnmarshalJSON(text []byte) error {
	var raw struct {
		ID       int64
		Alt, URL string
		FullPath string `json:"full_path"`
		Markdown string
	}
	err := json.Unmarshal(text, &raw)
	*a = attached{raw.ID, raw.Alt, raw.URL, raw.Markdown, raw.FullPath}
	return err
}

func TestAttachments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.person("ada"), b.person("eve")
	p := b.project(ada, map[string]any{"name": "p", "visibility": "private"})

	var d uploaded.Destination
	b.as(ada).authorize(p).want(http.StatusOK).header("Content-Type", uploaded.MediaType).into(&d)
	if d.TempPath != b.files.TempDir() || d.MaximumSize != 1000 {
		t.Errorf("destination %+v", d)
	}
	var made attached
	b.as(ada).attach(p, "file", `my [c]at.png`, "meow").want(http.StatusCreated).into(&made)
	secret := strings.Split(made.URL, "/")[2]
	want := attached{made.ID, "my__c_at", "/uploads/" + secret + "/my__c_at.png", "![my__c_at](/uploads/" + secret + "/my__c_at.png)",
		fmt.Sprintf("/-/project/%d/uploads/%s/my__c_at.png", p.ID, secret)}
	if made != want || len(secret) != 32 || made.ID == 0 {
		t.Errorf("got  %+v\nwant %+v", made, want)
	}
	got := b.as(ada).fetch(made.FullPath).want(http.StatusOK).header("Content-Type", "application/octet-stream").
		header("Content-Disposition", `attachment; filename=my__c_at.png`).header("X-Content-Type-Options", "nosniff")
	if content, err := os.ReadFile(got.Header().Get("X-Sendfile")); err != nil || string(content) != "meow" {
		t.Errorf("the file holds %q, %v", content, err)
	}
	if left, err := os.ReadDir(b.files.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// Whoever may not see the project learns nothing, with the address too.
	absent := b.as(eve).fetch(strings.Replace(made.FullPath, secret, strings.Repeat("0", 32), 1)).want(http.StatusNotFound).Body.String()
	for _, path := range []string{made.FullPath, strings.Replace(made.FullPath, "my_", "his", 1)} {
		b.as(eve).fetch(path).text(http.StatusNotFound, absent)
		b.anonymous().fetch(path).text(http.StatusNotFound, absent)
	}
	b.as(ada).fetch(strings.Replace(made.FullPath, "my_", "his", 1)).want(http.StatusNotFound)
	b.as(eve).authorize(p).text(http.StatusNotFound, `{"message":"404 Project Not Found"}`)
	b.as(eve).attach(p, "file", "x", "x").want(http.StatusNotFound)
	b.anonymous().authorize(p).want(http.StatusUnauthorized)
}

func TestAttachments_names(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.project(b.root, map[string]any{"name": "p"})
	for name, want := range map[string]string{
		"report.pdf": "[report.pdf](/uploads/*/report.pdf)", "..": "[_.](/uploads/*/_.)", "a b.PNG": "![a_b](/uploads/*/a_b.PNG)",
		".png": "[.png](/uploads/*/.png)", "Übung.txt": "[Übung.txt](/uploads/*/Übung.txt)", "x)(<y>": "[x___y_](/uploads/*/x___y_)",
		strings.Repeat("é", 200) + ".gz": "[" + strings.Repeat("é", 126) + ".gz](/uploads/*/" + strings.Repeat("é", 126) + ".gz)",
	} {
		var made attached
		b.as(b.root).attach(p, "file", name, "x").want(http.StatusCreated).into(&made)
		if got := strings.ReplaceAll(made.Markdown, strings.Split(made.URL, "/")[2], "*"); got != want {
			t.Errorf("%q\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestAttachments_refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.project(b.root, map[string]any{"name": "p"})
	b.as(b.root).attach(p, "other", "x", "x").text(http.StatusBadRequest, `{"error":"file is missing"}`)
	b.as(b.root).attach(p, "file", "x", strings.Repeat("x", 1001)).want(http.StatusBadRequest)
	// What does not come from workhorse is refused, whatever it says.
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, uploadsOf(p), strings.NewReader("file.path=/etc/passwd&file.name=x&file.size=1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Private-Token", b.root.token)
	b.serve(r).want(http.StatusForbidden)
	r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, uploadsOf(p)+"/authorize", http.NoBody)
	r.Header.Set("Private-Token", b.root.token)
	b.serve(r).want(http.StatusForbidden)
	b.with(b.token(b.root.ID, "read_api")).authorize(p).want(http.StatusForbidden)
	b.as(b.root).post(fmt.Sprintf("projects/%d/archive", p.ID), nil).want(http.StatusCreated)
	b.as(b.root).authorize(p).want(http.StatusForbidden)
	if kept, err := filepath.Glob(filepath.Join(b.files.TempDir(), "../../attachments/*/*")); err != nil || len(kept) > 0 {
		t.Errorf("kept: %v, %v", kept, err)
	}
}
