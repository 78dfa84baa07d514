package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/grpc"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/app"
)

var update = flag.Bool("update", false, "write what was seen into testdata/contract")

// The contract of each route, recorded: what a client sends, what rails-api and
// gitaly get of it, what rails-api says, what the client gets. A file's first line
// names the listener, "public" or "internal". In it: request and "rails says" are the
// input, the other sections what is compared; JWT stands for a valid token of
// workhorse, ID for the request's id, TEMP for a directory with a file "sent".
func TestContract(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/contract/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no contract: %v", err)
	}
	s := start(t, func(c *app.Config) { c.ProxyBodyLimit = 2000 })
	talk := &talk{gitaly: s.gitaly.address, temp: t.TempDir()}
	sent, long := filepath.Join(talk.temp, "sent"), time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	if err := errors.Join(os.WriteFile(sent, []byte("0123456789"), 0o600), os.Chtimes(sent, long, long)); err != nil {
		t.Fatal(err)
	}
	s.rails.all = talk.answer
	s.gitaly.postUpload = func(_ context.Context, c *sidechannel.Conn) error {
		body, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c, "gitaly got %q", body)
		return err
	}
	s.gitaly.postReceive = func(stream grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		var body []byte
		for {
			m, err := stream.Recv()
			if err != nil {
				break
			}
			body = append(body, m.GetData()...)
		}
		return stream.Send(&gitalypb.PostReceivePackResponse{Data: fmt.Appendf(nil, "gitaly got %q", body)})
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { s.contract(t, talk, file) })
	}
	if err := s.stop(); err != nil { // so that every access line is written
		t.Fatal(err)
	}
	routesAsWritten(t, s.log.String())
}

// routesAsWritten compares the routes that the contract went through, by the access
// log, with the routing table of the README.
func routesAsWritten(t *testing.T, log string) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(log) {
		var access struct {
			Msg   string `json:"msg"`
			Route string `json:"route_id"`
		}
		if err := json.Unmarshal([]byte(line), &access); err == nil && access.Msg == "access" {
			route, call, _ := strings.Cut(access.Route, "/internal/")
			if call != "" { // each has its name
				route += "/internal"
			}
			seen[route] = true
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "## Routes as built")
	table, _, _ = strings.Cut(table, "\n## ")
	written := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		const path, name = 3, 6
		if len(cells) <= name {
			continue
		}
		names := cells[name]
		if strings.Contains(names, "the path") {
			names = cells[path]
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(names, -1) {
			written[m[1]] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(written)), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("routes (-README +seen):\n%s", diff)
	}
}

// talk is what rails-api hears and says in one exchange.
type talk struct {
	t      *testing.T
	gitaly string // its address
	temp   string // a directory for uploads
	secret []byte
	says   [][]byte
	got    []string
}

func (s *setup) contract(t *testing.T, talk *talk, file string) {
	in, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var request []byte
	talk.t, talk.says, talk.got, talk.secret = t, nil, nil, s.rails.secret
	for _, f := range in.Files {
		switch f.Name {
		case "request":
			request = f.Data
		case "rails says":
			talk.says = append(talk.says, f.Data)
		}
	}
	network, addr := "tcp", s.at()
	if strings.TrimSpace(string(in.Comment)) == "internal" {
		network, addr = "unix", s.internal
	}
	s.gitaly.forget()
	answer := exchange(t, network, addr, wire(request))

	out := &txtar.Archive{Comment: in.Comment, Files: []txtar.File{{Name: "request", Data: request}}}
	add := func(name, text string) {
		out.Files = append(out.Files, txtar.File{Name: name, Data: []byte(strings.TrimSuffix(text, "\n") + "\n")})
	}
	for i, got := range talk.got {
		add("rails got", got)
		if i < len(talk.says) {
			add("rails says", string(talk.says[i]))
		}
	}
	for _, c := range s.gitaly.forget() {
		add("gitaly got", c.text())
	}
	add("client gets", answer)
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(in)), string(txtar.Format(out))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// wire makes the text of a section what travels: lines of the head end in CR LF, the
// body's last line break is the file's.
func wire(text []byte) string {
	head, body, _ := strings.Cut(string(text), "\n\n")
	body = strings.TrimSuffix(body, "\n")
	if strings.Contains(head, "multipart/") {
		body = strings.ReplaceAll(body, "\n", "\r\n")
	}
	if strings.Contains(strings.ToLower(head), "transfer-encoding: chunked") {
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	return strings.ReplaceAll(strings.TrimSuffix(head, "\n"), "\n", "\r\n") + "\r\n\r\n" + body
}

// exchange sends a request and returns the answer as text. The connection carries
// one request only.
func exchange(t *testing.T, network, addr, request string) string {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, &http.Request{Method: method})
	if err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(br, &http.Request{Method: method})
	}
	if err != nil {
		t.Fatal(err)
	}
	body := ""
	if res.StatusCode != http.StatusSwitchingProtocols {
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		body = string(raw)
	}
	id := res.Header.Get("X-Request-Id")
	res.Header.Del("Date")
	text := fmt.Sprintf("%d\n%s\n%s", res.StatusCode, headerText(res.Header, nil), body)
	if len(res.TransferEncoding) > 0 {
		text = strings.Replace(text, "\n", "\n(chunked)\n", 1)
	}
	if res.Close {
		text = strings.Replace(text, "\n", "\n(closes the connection)\n", 1)
	}
	text = advertised.ReplaceAllString(text, "$1…")
	if id != "" {
		text = strings.ReplaceAll(text, id, "ID")
	}
	return text
}

// advertised is an advertisement, whose refs are git's business.
var advertised = regexp.MustCompile(`(?s)(# service=git-[a-z]+-pack\n0000).*`)

func headerText(h http.Header, secret []byte) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			switch {
			case name == "X-Request-Id":
				v = "ID"
			case name == "Gitlab-Workhorse-Proxy-Start":
				if _, err := strconv.ParseInt(v, 10, 64); err == nil {
					v = "TIME"
				}
			case name == apijwt.WorkhorseHeader && apijwt.Verify([][]byte{secret}, apijwt.WorkhorseIssuer, v, time.Now()) == nil:
				v = "JWT"
			}
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	return b.String()
}

// answer notes the request and says what comes next.
func (k *talk) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	framing := ""
	if len(r.TransferEncoding) > 0 {
		framing = "(chunked)\n"
	}
	if plain := k.plain(string(body)); plain != string(body) {
		r.Header.Set("Content-Length", "LENGTH")
		body = []byte(plain)
	}
	k.got = append(k.got, fmt.Sprintf("%s %s HTTP/1.1\nHost: %s\n%s%s\n%s", r.Method, r.RequestURI, strings.ReplaceAll(r.Host, "\n", ""),
		k.plain(headerText(r.Header, k.secret)), framing, body))
	if len(k.got) > len(k.says) {
		k.t.Errorf("rails-api was asked more than it has answers for:\n%s", k.got[len(k.got)-1])
		return
	}
	head, text, _ := strings.Cut(string(k.says[len(k.got)-1]), "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		w.Header()[name] = append(w.Header()[name], strings.ReplaceAll(value, "TEMP", k.temp))
	}
	status, err := strconv.Atoi(lines[0])
	if err != nil {
		k.t.Errorf("status %q: %v", lines[0], err)
	}
	text = strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "GITALY", k.gitaly)
	text = strings.ReplaceAll(text, "TEMP", k.temp)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// changing is what differs each time in the request after an upload, and its name.
var changing = []struct {
	found *regexp.Regexp
	named string
}{
	{regexp.MustCompile(`gitlab-workhorse-upload[0-9]+`), "gitlab-workhorse-uploadN"},
	{regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`), "TOKEN"},
	{regexp.MustCompile(`(upload_duration(?:\n\n|=))[0-9.e-]+`), "${1}SECONDS"},
	{regexp.MustCompile(`\b[0-9a-f]{60}\b`), "BOUNDARY"},
}

// plain gives what changes its name.
func (k *talk) plain(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, k.temp, "TEMP")
	text = strings.ReplaceAll(text, url.QueryEscape(k.temp), "TEMP")
	for _, c := range changing {
		text = c.found.ReplaceAllString(text, c.named)
	}
	return text
}
