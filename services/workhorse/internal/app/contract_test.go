package app_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
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
// workhorse, ID for the request's id.
func TestContract(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/contract/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no contract: %v", err)
	}
	s := start(t, func(c *app.Config) { c.ProxyBodyLimit = 1000 })
	talk := &talk{gitaly: s.gitaly.address}
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
}

// talk is what rails-api hears and says in one exchange.
type talk struct {
	t      *testing.T
	gitaly string // its address
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
	k.got = append(k.got, fmt.Sprintf("%s %s HTTP/1.1\nHost: %s\n%s%s\n%s", r.Method, r.RequestURI, strings.ReplaceAll(r.Host, "\n", ""),
		headerText(r.Header, k.secret), framing, body))
	if len(k.got) > len(k.says) {
		k.t.Errorf("rails-api was asked more than it has answers for:\n%s", k.got[len(k.got)-1])
		return
	}
	head, text, _ := strings.Cut(string(k.says[len(k.got)-1]), "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		w.Header()[name] = append(w.Header()[name], value)
	}
	status, err := strconv.Atoi(lines[0])
	if err != nil {
		k.t.Errorf("status %q: %v", lines[0], err)
	}
	text = strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "GITALY", k.gitaly)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
