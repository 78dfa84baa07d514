package app_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// target is a server that rails-api may name.
func target(t *testing.T) *httptest.Server {
	t.Helper()
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/file", http.StatusFound)
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/cut":
			h.Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		case "/echo":
			body, _ := io.ReadAll(r.Body)
			var names []string
			for name, values := range r.Header {
				names = append(names, name+": "+values[0])
			}
			sortStrings(names)
			_, _ = io.WriteString(w, r.Method+" "+strings.Join(names, ", ")+" "+string(body))
		default:
			h.Set("Cache-Control", "public")
			h.Set("Content-Type", "text/html")
			h.Set("X-Target", "1")
			h.Set("Gitlab-Workhorse-Send-Data", "git-blob:x")
			h.Set("X-Request-Id", "target's")
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
		}
	}))
	t.Cleanup(func() { close(release); s.Close() })
	return s
}

// The table of send-url: what rails-api says, and what the client gets.
func TestSendURL(t *testing.T) {
	t.Parallel()
	away, s := target(t), start(t, nil)
	closed := httptest.NewServer(nil)
	closed.Close()
	host := strings.TrimPrefix(away.URL, "http://")
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	type params = map[string]any
	for _, tc := range []struct {
		name    string
		params  params
		headers []string
		status  int
		body    string
		line    string
	}{
		{"plain", params{"URL": away.URL + "/file"}, nil, 200, "0123456789", "Cache-Control: max-age=60"},
		{"headers of the target", params{"URL": away.URL + "/file"}, nil, 200, "0123456789", "Content-Type: text/html"},
		{"range", params{"URL": away.URL + "/file"}, []string{"Range", "bytes=2-4"}, 206, "234", "Content-Range: bytes 2-4/10"},
		{"many ranges", params{"URL": away.URL + "/file"}, []string{"Range", "bytes=" + strings.Repeat("0-0,", 40) + "1-1"}, 200, "0123456789", ""},
		{"headers of rails-api", params{"URL": away.URL + "/file", "ResponseHeaders": params{"content-type": []string{"text/plain"}, "Cache-Control": []string{"no-store"}}},
			nil, 200, "0123456789", "Content-Type: text/plain"},
		{"restricted", params{"URL": away.URL + "/file", "RestrictForwardedResponseHeaders": params{"Enabled": true, "AllowList": []string{"content-length"}}},
			nil, 200, "0123456789", "X-Target: "},
		{"only conditions of the client", params{"URL": away.URL + "/echo", "Method": "POST", "Body": "b", "Header": params{"X-Key": []string{"k"}}},
			[]string{"If-None-Match", `"x"`, "Cookie", "a=b", "X-Mine", "1"}, 200, `POST Connection: close, Content-Length: 1, If-None-Match: "x", User-Agent: Go-http-client/1.1, X-Key: k b`, ""},
		{"redirect", params{"URL": away.URL + "/redirect"}, nil, 302, "<a href=\"/file\">Found</a>.\n\n", "Location: /file"},
		{"redirect followed", params{"URL": away.URL + "/redirect", "AllowRedirects": true}, nil, 200, "0123456789", ""},
		{"down", params{"URL": closed.URL, "ErrorResponseStatus": 502}, nil, 502, "Bad Gateway\n", "Content-Disposition: "},
		{"down, no status", params{"URL": closed.URL, "ErrorResponseStatus": 200}, nil, 500, "Internal Server Error\n", ""},
		{"slow", params{"URL": away.URL + "/slow", "ResponseHeaderTimeout": "50ms", "TimeoutResponseStatus": 504}, nil, 504, "Gateway Timeout\n", ""},
		{"private address", params{"URL": away.URL + "/file", "SSRFFilter": true}, nil, 500, "Internal Server Error\n", ""},
		{"private by name", params{"URL": "http://localhost:" + port + "/file", "SSRFFilter": true, "ErrorResponseStatus": 403}, nil, 403, "Forbidden\n", ""},
		{"localhost allowed", params{"URL": away.URL + "/file", "SSRFFilter": true, "AllowLocalhost": true}, nil, 200, "0123456789", ""},
		{"endpoint allowed", params{"URL": away.URL + "/file", "SSRFFilter": true, "AllowedEndpoints": []string{host}}, nil, 200, "0123456789", ""},
		{"other endpoint allowed", params{"URL": away.URL + "/file", "SSRFFilter": true, "AllowedURIs": []string{"http://other:1/x"}}, nil, 500, "Internal Server Error\n", ""},
		{"no http", params{"URL": "file:///etc/passwd"}, nil, 500, "Internal Server Error\n", ""},
		{"bad address", params{"URL": "http://a b/?secret=hush"}, nil, 500, "Internal Server Error\n", ""},
		{"bad time", params{"URL": away.URL, "DialTimeout": "-1s"}, nil, 500, "Internal Server Error\n", ""},
		{"transformed", params{"URL": away.URL, "TransformConfig": params{"Format": "json"}}, nil, 500, "Internal Server Error\n", ""},
	} {
		s.delegate(s.sendData("send-url", tc.params), 0, nil)
		res, body := s.do("GET", "/x", nil, tc.headers...)
		if res.StatusCode != tc.status || body != tc.body {
			t.Errorf("%s: %d %q, want %d %q", tc.name, res.StatusCode, body, tc.status, tc.body)
		}
		checkLine(t, res, tc.line)
		checkLine(t, res, "Gitlab-Workhorse-Send-Data: ")
		if ids := res.Header["X-Request-Id"]; len(ids) != 1 || ids[0] == "target's" {
			t.Errorf("%s: ids %q", tc.name, ids)
		}
	}
	if strings.Contains(s.log.String(), "hush") || strings.Contains(s.log.String(), closed.URL) {
		t.Error("the log shows an address, which may be signed")
	}
	s.delegate(s.sendData("send-url", params{"URL": away.URL + "/cut"}), 0, nil)
	s.cutShort("/x", "half")
}
