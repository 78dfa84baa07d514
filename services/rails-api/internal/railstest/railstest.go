// Package railstest builds what the tests of the doors need: a database, a Redis,
// a fake storage server, the real access rules between them, and people.
package railstest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/redistest"
	"gitsplit/services/rails-api/internal/sealed"
	"gitsplit/services/rails-api/internal/site"
	"gitsplit/services/rails-api/internal/storage"
	"gitsplit/services/rails-api/internal/twofactor"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
	"gitsplit/services/rails-api/internal/worker"
)

// Bench is one installation without its doors.
type Bench struct {
	TB           testing.TB
	DB           *pgxpool.Pool
	Redis        *redis.Client
	Server       *gitalytest.Server
	Gitaly       *gitaly.Client
	Access       *access.Checker
	Events       *event.Recorder
	Repositories *projectrepo.Service
	Box          *sealed.Box
	TwoFactor    *twofactor.Service
	Files        *storage.Store
	Site         site.Site
	Log          *slog.Logger
	Logged       *Buffer
	Time         time.Time // what Now returns
}

// New builds a Bench that ends with the test.
func New(tb testing.TB) *Bench {
	tb.Helper()
	b := &Bench{
		TB: tb, DB: pgtest.New(tb), Redis: redistest.New(tb), Server: gitalytest.New(tb), Logged: &Buffer{},
		Time: time.Now().UTC().Truncate(time.Second),
	}
	b.Log = slog.New(slog.NewJSONHandler(b.Logged, nil))
	b.Gitaly = b.Server.Client(tb)
	b.Site = site.Site{External: &url.URL{Scheme: "https", Host: "git.example.test"}, SSHHost: "git.example.test", SSHPort: 2222, SSHUser: "git"}
	jobs, err := worker.Inserter(b.DB, b.Log)
	b.Must(err)
	b.Repositories = projectrepo.New(b.DB, b.Gitaly, jobs, b.Log, b.Now)
	b.Events = event.New(b.DB, jobs, b.Now)
	b.Box, err = sealed.New(make([]byte, sealed.MinKey))
	b.Must(err)
	b.TwoFactor = twofactor.New(b.DB, b.Box, "git.example.test", b.Now)
	b.Files, err = storage.Open(tb.Context(), "file://"+tb.TempDir())
	b.Must(err)
	b.Access = access.New(b.Deps())
	return b
}

// Deps returns what Access works with, for a Checker with other rules.
func (b *Bench) Deps() access.Deps {
	return access.Deps{DB: b.DB, Repositories: b.Gitaly, Creator: b.Repositories, Site: b.Site, Log: b.Log, Now: b.Now}
}

// Passwords are fast.
func Passwords() auth.Passwords { return auth.NewPasswords(bcrypt.MinCost) }

// Auth returns an Authenticator that bans after some failures, 0 for never.
func (b *Bench) Auth(failures int64) *auth.Authenticator {
	bans := ratelimit.NewBans(b.Redis, "login", ratelimit.Rule{Failures: failures, Within: time.Minute, For: time.Hour})
	return auth.New(auth.Deps{DB: b.DB, Guard: auth.NewGuard(bans, nil, b.Log), Passwords: Passwords(), Log: b.Log, Now: b.Now})
}

// Now is the clock of the installation.
func (b *Bench) Now() time.Time { return b.Time }

// Must fails the test on an error.
func (b *Bench) Must(err error) {
	b.TB.Helper()
	if err != nil {
		b.TB.Fatal(err)
	}
}

// User makes an active account.
func (b *Bench) User(name string) user.User {
	b.TB.Helper()
	u, err := user.New(b.DB).Create(b.TB.Context(), user.NewUser{Username: name, Name: "Name of " + name, Email: name + "@example.org"})
	b.Must(err)
	return u
}

// Admin makes an administrator.
func (b *Bench) Admin(name string) user.User {
	b.TB.Helper()
	u := b.User(name)
	yes := true
	u, err := user.New(b.DB).Update(b.TB.Context(), u.ID, user.Changes{Admin: &yes})
	b.Must(err)
	return u
}

// Key makes an SSH key of a user and returns it with the base64 of its wire format.
func (b *Bench) Key(u user.User, in key.NewKey) (k key.Key, blob string) {
	b.TB.Helper()
	blob = b.Blob()
	in.UserID, in.Title, in.Text = u.ID, "laptop", "ssh-ed25519 "+blob+" somebody@somewhere"
	k, err := key.New(b.DB).Create(b.TB.Context(), in)
	b.Must(err)
	return k, blob
}

// DeployKey makes a deploy key of a project, added by a user, and returns it with
// the base64 of its wire format.
func (b *Bench) DeployKey(by user.User, p project.Project, in key.NewKey, canPush bool) (k key.Attached, blob string) {
	b.TB.Helper()
	blob = b.Blob()
	in.UserID, in.Title, in.Text = by.ID, "robot", "ssh-ed25519 "+blob
	k, err := key.New(b.DB).Add(b.TB.Context(), in, p.ID, canPush, func([]int64) (bool, error) { return false, nil })
	b.Must(err)
	return k, blob
}

// Blob returns the base64 of a fresh public key in wire format.
func (b *Bench) Blob() string {
	b.TB.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	b.Must(err)
	wire, err := ssh.NewPublicKey(pub)
	b.Must(err)
	return base64.StdEncoding.EncodeToString(wire.Marshal())
}

// Group makes a group at the top or below another.
func (b *Bench) Group(path string, level visibility.Level, parent ...namespace.Namespace) namespace.Namespace {
	b.TB.Helper()
	in := namespace.NewNamespace{Kind: namespace.Group, Path: path, Name: "Group " + path, Visibility: level}
	if len(parent) > 0 {
		in.ParentID = &parent[0].ID
	}
	n, err := namespace.New(b.DB).Create(b.TB.Context(), in)
	b.Must(err)
	return n
}

// Project makes a project with its repository.
func (b *Bench) Project(namespaceID int64, path string, level visibility.Level) project.Project {
	b.TB.Helper()
	p, err := b.Repositories.Create(b.TB.Context(), project.NewProject{NamespaceID: namespaceID, Path: path, Visibility: level})
	b.Must(err)
	return p
}

// Inhabited is Project with a first push behind it: main exists and is protected.
func (b *Bench) Inhabited(namespaceID int64, path string, level visibility.Level) project.Project {
	b.TB.Helper()
	p := b.Project(namespaceID, path, level)
	b.Server.SetBranches(p.DiskPath, "refs/heads/main")
	_, err := b.Events.Record(b.TB.Context(), event.Push{
		Project: p, Protocol: "ssh", Changes: []access.Change{{Old: ID(0), New: ID(1), Ref: "refs/heads/main"}},
	})
	b.Must(err)
	p, err = project.New(b.DB).ByID(b.TB.Context(), p.ID)
	b.Must(err)
	return p
}

// LFSObject stores a large file of a project.
func (b *Bench) LFSObject(p project.Project, content string) lfs.Object {
	b.TB.Helper()
	ctx, files := b.TB.Context(), lfs.New(b.DB)
	sum := sha256.Sum256([]byte(content))
	d, err := b.Files.Destination(ctx, 0)
	b.Must(err)
	path := filepath.Join(d.TempPath, hex.EncodeToString(sum[:]))
	b.Must(os.WriteFile(path, []byte(content), 0o600))
	o, err := files.Reserve(ctx, hex.EncodeToString(sum[:]), int64(len(content)))
	b.Must(err)
	b.Must(b.Files.Keep(ctx, uploaded.File{Path: path, Size: o.Size}, o.Key()))
	b.Must(files.Publish(ctx, p.ID, o))
	return o
}

// Member gives a user a level in a project or a group.
func (b *Bench) Member(src member.Source, u user.User, level member.Level) {
	b.TB.Helper()
	_, err := member.New(b.DB).Add(b.TB.Context(), member.NewMember{Source: src, UserID: u.ID, Level: level})
	b.Must(err)
}

// ID returns the object id of digits n; 0 is the id of what does not exist.
func ID(n int) string {
	id := bytes.Repeat([]byte{'0'}, 40)
	id[39] = byte('0' + n)
	return string(id)
}

// Buffer is a bytes.Buffer for concurrent use.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
