package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/services/gitaly/internal/api"
)

func client(t *testing.T, h http.HandlerFunc) *api.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := internalapi.New(internalapi.Config{URL: srv.URL, Secret: []byte(strings.Repeat("s", 32)), RequireJSON: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return api.New(c, time.Second, nil)
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func push() api.Push {
	return api.Push{
		GLID: "key-7", Protocol: "ssh", GLRepository: "project-26", Dir: "/data/it's.git", RelativePath: "it's.git",
		Changes: "0 1 refs/heads/\xff\n", ObjectDirectory: "objects/tmp_objdir-incoming-x", Alternates: []string{"objects"},
	}
}

func text(err error) string {
	var r *api.Refusal
	if errors.As(err, &r) {
		return r.Text
	}
	return ""
}

// TestClient_forwardedFor: the API is told where the user is, if that is an address.
func TestClient_forwardedFor(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{"192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::1", "": "", "evil, 10.0.0.1": ""} {
		var got []string
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Header.Get("X-Forwarded-For"))
			answer(200, "application/json", `{"status":true,"reference_counter_decreased":true}`)(w, r)
		})
		p := push()
		p.RemoteIP = from
		if err := c.Allowed(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.PostReceive(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, []string{want, want}) {
			t.Errorf("%q: told %q", from, got)
		}
	}
}

func TestClient_Allowed_request(t *testing.T) {
	t.Parallel()
	var got map[string]any
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&got)
		answer(200, "application/json; charset=utf-8", `{"status":true}`)(w, r)
	})
	if err := c.Allowed(t.Context(), push()); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"action": "git-receive-pack", "project": "/data/its.git", "changes": "0 1 refs/heads/\uFFFD\n", "protocol": "ssh",
		"key_id": "7", "gl_repository": "project-26", "relative_path": "it's.git",
		"env": `{"GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE":["objects"],"GIT_OBJECT_DIRECTORY_RELATIVE":"objects/tmp_objdir-incoming-x"}`,
	}
	if len(got) != len(want) {
		t.Errorf("request = %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
}

// TestClient_Allowed_refused has the words of wire/gitaly.md §7.3.
func TestClient_Allowed_refused(t *testing.T) {
	t.Parallel()
	const js = "application/json"
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"status false", answer(200, js, `{"status":false,"message":"no"}`), "no"},
		{"no status", answer(200, js, `{}`), ""},
		{"401", answer(401, js, `{"status":false,"message":"not you"}`), "not you"},
		{"503 with a message", answer(503, js, `{"message":"Push operation timed out"}`), "Push operation timed out"},
		{"500 without", answer(500, "text/html", `<html>`), "Internal API error (500)"},
		{"another 2xx", answer(201, js, `{"status":true}`), "gitlab api is not accessible: 201"},
		{"redirect", answer(302, js, ``), "gitlab api is not accessible: 302"},
		{"wrong content type", answer(200, "text/html", `{"status":true}`), "/allowed endpoint respond with unsupported content type: text/html"},
		{"no JSON", answer(200, js, `nope`), "decoding response from /allowed endpoint: invalid character 'o' in literal null (expecting 'u')"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "Internal API unreachable"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			<-r.Context().Done()
		}, "Internal API unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := client(t, tc.h).Allowed(t.Context(), push())
			if err == nil || text(err) != tc.want {
				t.Errorf("err = %v (%q), want %q", err, text(err), tc.want)
			}
		})
	}
}

func TestClient_Allowed_otherErrors(t *testing.T) {
	t.Parallel()
	err := client(t, answer(429, "application/json", `{"message":{"error":"slow down"}}`)).Allowed(t.Context(), push())
	if errs.KindOf(err) != errs.Exhausted {
		t.Errorf("429: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client(t, answer(200, "application/json", `{"status":true}`)).Allowed(ctx, push()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	never := client(t, func(http.ResponseWriter, *http.Request) { t.Error("the API was asked") })
	for _, id := range []string{"", "key-", "key-x", "key--1", "user", "deploy-3", "username-", "root"} {
		p := push()
		p.GLID = id
		if err := never.Allowed(t.Context(), p); text(err) != `setting gl_id: gl_id="`+id+`" is invalid` {
			t.Errorf("gl_id %q: %v", id, err)
		}
	}
}

func TestClient_PreAndPostReceive(t *testing.T) {
	t.Parallel()
	c := client(t, answer(200, "application/json", `{"reference_counter_increased":true,"reference_counter_decreased":true,"messages":[{"message":"m","type":"basic"}]}`))
	if ok, err := c.PreReceive(t.Context(), push()); !ok || err != nil {
		t.Errorf("PreReceive = %v, %v", ok, err)
	}
	messages, ok, err := c.PostReceive(t.Context(), push())
	if len(messages) != 1 || !ok || err != nil {
		t.Errorf("PostReceive = %v, %v, %v", messages, ok, err)
	}
	c = client(t, answer(500, "application/json", `{"message":"broken"}`))
	if _, err := c.PreReceive(t.Context(), push()); text(err) != "http post to gitlab api /pre_receive endpoint: broken" {
		t.Errorf("PreReceive = %v", err)
	}
	if _, _, err := c.PostReceive(t.Context(), push()); text(err) != "http post to gitlab api /post_receive endpoint: broken" {
		t.Errorf("PostReceive = %v", err)
	}
}

// TestClient_again: an instance of the API that goes away in the middle costs a push
// nothing, unless it would be counted twice.
func TestClient_again(t *testing.T) {
	t.Parallel()
	named := push()
	named.ID = strings.Repeat("a", 32)
	allowed := func(c *api.Client, p api.Push) error { return c.Allowed(t.Context(), p) }
	counted := func(c *api.Client, p api.Push) error {
		_, err := c.PreReceive(t.Context(), p)
		return err
	}
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, tc := range []struct {
		name  string
		first http.HandlerFunc
		ask   func(*api.Client, api.Push) error
		push  api.Push
		calls int32
		want  string
	}{
		{"allowed, hung up", hangUp, allowed, push(), 2, ""},
		{"allowed, 502", answer(502, "text/html", ""), allowed, push(), 2, ""},
		{"allowed, 503", answer(503, "application/json", `{"message":"later"}`), allowed, push(), 1, "later"},
		{"pre-receive, hung up", hangUp, counted, named, 2, ""},
		{"pre-receive of a push without a name", hangUp, counted, push(), 1, "http post to gitlab api /pre_receive endpoint: Internal API unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) == 1 {
					tc.first(w, r)
					return
				}
				answer(200, "application/json", `{"status":true,"reference_counter_increased":true}`)(w, r)
			})
			err := tc.ask(c, tc.push)
			if text(err) != tc.want || (err == nil) != (tc.want == "") || calls.Load() != tc.calls {
				t.Errorf("%v after %d calls, want %q after %d", err, calls.Load(), tc.want, tc.calls)
			}
		})
	}
}
