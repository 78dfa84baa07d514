package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"

	"gitsplit/e2e/internal/user"
)

type actorsKey struct{}

type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands are what scripts can say besides testscript's own words.
func commands() map[string]command {
	return map[string]command{
		"actor":    cmdActor,
		"as":       cmdAs,
		"api":      cmdAPI,
		"token":    cmdToken,
		"expire":   cmdExpire,
		"history":  cmdHistory,
		"blob":     cmdBlob,
		"branches": cmdBranches,
		"verbatim": cmdVerbatim,
		"capture":  cmdCapture,
		"otp":      cmdOTP,
		"sshkey":   cmdSSHKey,
	}
}

func actors(ts *testscript.TestScript) map[string]*actor {
	return ts.Value(actorsKey{}).(map[string]*actor)
}

func home(ts *testscript.TestScript) string { return filepath.Join(ts.Getenv("WORK"), "home") }

func noNeg(ts *testscript.TestScript, neg bool, name string) {
	if neg {
		ts.Fatalf("! %s makes no sense", name)
	}
}

// cmdActor makes users. `actor ada` sets $ada to the user name, $ada_id to the id
// and acts as ada from then on.
func cmdActor(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "actor")
	for _, name := range args {
		a, err := user.New(context.Background(), shared, name, ts.Getenv("WORK"))
		ts.Check(err)
		actors(ts)[name] = a
		ts.Setenv(name, a.Username)
		ts.Setenv(name+"_id", strconv.FormatInt(a.ID, 10))
		ts.Setenv(name+"_key", a.KeyFile)
		ts.Setenv(name+"_key_id", strconv.FormatInt(a.KeyID, 10))
		ts.Setenv(name+"_token", a.Token)
		ts.Setenv(name+"_password", a.Password)
		become(ts, a)
	}
}

func become(ts *testscript.TestScript, a *actor) {
	for _, kv := range a.Env(home(ts)) {
		k, v, _ := strings.Cut(kv, "=")
		ts.Setenv(k, v)
	}
}

// cmdAs changes who acts: `as ada`, `as root` (REST only), `as nobody` (no
// credentials), `as stranger` (a key the server does not know, a wrong password).
func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "as")
	if len(args) != 1 {
		ts.Fatalf("usage: as NAME")
	}
	switch name := args[0]; name {
	case "root":
		token, err := shared.Token()
		ts.Check(err)
		ts.Setenv("TOKEN", token)
	case "nobody":
		become(ts, &actor{KeyFile: "/nonexistent"})
	case "stranger":
		key, err := user.NewKey(context.Background(), filepath.Join(ts.Getenv("WORK"), "stranger-"+user.RandomHex(4)))
		ts.Check(err)
		become(ts, &actor{KeyFile: key, Username: "nobody-here", Password: "wrong"})
	default:
		a, ok := actors(ts)[name]
		if !ok {
			ts.Fatalf("no actor %q", name)
		}
		become(ts, a)
	}
}

// cmdAPI sends a REST request as the present actor: `api POST projects {"name":"x"}`.
// The body of the answer is the command's stdout; `!` expects a status of 400 or more,
// which is then the first line of stderr.
func cmdAPI(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: api METHOD PATH [JSON]")
	}
	var body any
	if len(args) == 3 {
		body = args[2]
	}
	status, raw, err := shared.API(context.Background(), ts.Getenv("TOKEN"), args[0], args[1], body)
	ts.Check(err)
	_, _ = ts.Stdout().Write(raw)
	_, _ = fmt.Fprintf(ts.Stderr(), "%d\n", status)
	if neg != (status >= 400) {
		ts.Fatalf("%s %s: status %d: %s", args[0], args[1], status, raw)
	}
}

// cmdToken makes a personal access token and puts it in place of the password:
// `token ada read_repository`. $token_id names it.
func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "token")
	a := actors(ts)[args[0]]
	root, err := shared.Token()
	ts.Check(err)
	body := map[string]any{"name": "script", "scopes": strings.Split(args[1], ",")}
	var made struct {
		ID    int64  `json:"id"`
		Token string `json:"token"`
	}
	path := fmt.Sprintf("users/%d/personal_access_tokens", a.ID)
	ts.Check(shared.Must(context.Background(), root, http.MethodPost, path, body, &made))
	ts.Setenv("E2E_PASSWORD", made.Token)
	ts.Setenv("TOKEN", made.Token)
	ts.Setenv("token_id", strconv.FormatInt(made.ID, 10))
}

// cmdExpire lets a personal access token have ended long ago: `expire ID`. The API
// makes no such token, so the date is changed in the database.
func cmdExpire(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "expire")
	id, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	ts.Check(shared.SQL(context.Background(), fmt.Sprintf("UPDATE personal_access_tokens SET expires_at = '2020-01-01' WHERE id = %d", id)))
}

// cmdHistory writes a fast-import stream of N commits on a branch: `history 20000
// FILE`. Every commit changes one of 50 files.
func cmdHistory(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "history")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var b bytes.Buffer
	for i := range n {
		msg, content := fmt.Sprintf("commit %d", i), fmt.Sprintf("content %d\n", i)
		fmt.Fprintf(&b, "commit refs/heads/main\ncommitter E2E <e2e@example.test> %d +0000\ndata %d\n%s\n", 1_600_000_000+i, len(msg), msg)
		fmt.Fprintf(&b, "M 100644 inline dir%d/file%d\ndata %d\n%s\n", i%7, i%50, len(content), content)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b.Bytes(), 0o600))
}

// cmdBlob writes a file of random bytes that no compression shrinks: `blob BYTES FILE`.
func cmdBlob(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "blob")
	size, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	src := rand.NewChaCha8([32]byte{byte(size)})
	_, err = io.CopyN(f, src, size)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdBranches writes `update-ref --stdin` lines that make N branches at a commit:
// `branches 5000 COMMIT-FILE FILE`, where the first file holds the commit's id.
func cmdBranches(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "branches")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	oid := strings.TrimSpace(ts.ReadFile(args[1]))
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "create refs/heads/b%04d %s\n", i, oid)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b.Bytes(), 0o600))
}

// cmdCapture puts a part of the last command's stdout into a variable, the first
// group of a pattern: `capture NAME PATTERN`.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "capture")
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("stdout does not match %q: %s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], m[1])
}

// cmdOTP puts the code of an authenticator app into a variable, of now or of some
// seconds later: `otp NAME SECRET [SECONDS]`.
func cmdOTP(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "otp")
	at := time.Now()
	if len(args) > 2 {
		later, err := strconv.Atoi(args[2])
		ts.Check(err)
		at = at.Add(time.Duration(later) * time.Second)
	}
	code, err := totp.GenerateCode(args[1], at)
	ts.Check(err)
	ts.Setenv(args[0], code)
}

// cmdSSHKey makes an SSH key that no user has. `sshkey robot` sets $robot_key to its
// file and $robot_pub to the public key; git acts with it after `env`.
func cmdSSHKey(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, "sshkey")
	file, err := user.NewKey(context.Background(), filepath.Join(ts.Getenv("WORK"), args[0]))
	ts.Check(err)
	ts.Setenv(args[0]+"_key", file)
	ts.Setenv(args[0]+"_pub", strings.TrimSpace(ts.ReadFile(file+".pub")))
	ts.Setenv(args[0]+"_ssh", user.SSHCommand(home(ts), file))
}

// cmdVerbatim compares the last command's stderr with a file to the byte, after
// $NAME in the file is replaced: `verbatim FILE`.
func cmdVerbatim(ts *testscript.TestScript, neg bool, args []string) {
	want := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	got := strings.ReplaceAll(ts.ReadFile("stderr"), "\r\n", "\n") // ssh ends its own lines so
	if (got == want) == neg {
		ts.Fatalf("stderr (neg %v)\n--- want\n%s\n--- got\n%s", neg, visible(want), visible(got))
	}
}

func visible(s string) string { return strings.ReplaceAll(s, " \n", "·\n") }
