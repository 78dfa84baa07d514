// Package doctor asks everything that rails-api needs whether it is well, one question for each hop, and says what to do about what is not.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/storage"
)

// Finding is the answer to one question.
type Finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // of what is not well
}

// Deps is what is asked.
type Deps struct {
	DB     *pgxpool.Pool
	Redis  *redis.Client
	Gitaly *gitaly.Client
	Files  *storage.Store
	Now    func() time.Time
	Fronts Fronts
	Host   string // the public name, for the certificate
	Secret string // file of the secret of gitlab-sshd and gitaly
}

// patience bounds each question.
const patience = 10 * time.Second

// Examine asks everything, one after the other. Secrets says whether each secret can be read, by the key of its setting.
func Examine(ctx context.Context, d Deps, secrets map[string]error) []Finding {
	list := []Finding{}
	ask := func(check, remedy string, question func(context.Context) (string, error)) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		detail, err := question(ctx)
		f := Finding{Check: check, OK: err == nil, Detail: detail}
		if err != nil {
			f.Detail, f.Remedy = oneLine(err), remedy
		}
		list = append(list, f)
	}
	ask("secrets of rails-api", "give each file to the user of the service, mode 0600, with the content that the other services have",
		func(context.Context) (string, error) { return readable(secrets) })
	ask("database", "start PostgreSQL, and compare database_url with where it listens", d.database)
	ask("database clock", "set the clocks of both hosts (NTP)", d.clock)
	ask("migrations", "restart rails-api, or run: rails-api migrate; a newer schema wants a newer gitsplit", d.migrations)
	ask("redis", "start Redis, and compare redis_url with where it listens; pushes and clones go on without", func(ctx context.Context) (string, error) {
		return "answers", d.Redis.Ping(ctx).Err()
	})
	for _, s := range d.Gitaly.Storages() {
		ask("gitaly of storage "+s.Name, "start gitaly; its token and that of gitaly_token_file must be the same, the storage writable, and its clock right",
			func(ctx context.Context) (string, error) { return d.storage(ctx, s) })
		ask("space of storage "+s.Name, "make room on the file system of the storage", func(ctx context.Context) (string, error) { return d.space(ctx, s) })
	}
	d.fronts(ask)
	ask("object storage", "compare object_storage with where it is; the directory, or the bucket with its credentials, must be writable", d.objects)
	return list
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func readable(secrets map[string]error) (string, error) {
	var all []error
	for key, err := range secrets {
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", key, err))
		}
	}
	return fmt.Sprintf("%d can be read", len(secrets)), errors.Join(all...)
}

func (d Deps) database(ctx context.Context) (version string, err error) {
	err = d.DB.QueryRow(ctx, "SELECT 'PostgreSQL ' || current_setting('server_version')").Scan(&version)
	return version, postgres.Error(err, "database")
}

// skew is how far clocks may be apart: tokens between services live for less than a minute.
const skew = 5 * time.Second

func (d Deps) clock(ctx context.Context) (string, error) {
	var theirs time.Time
	before := d.Now()
	if err := d.DB.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return "", postgres.Error(err, "database")
	}
	after := d.Now()
	if theirs.Before(before.Add(-skew)) || theirs.After(after.Add(skew)) {
		return "", fmt.Errorf("the database's clock is %v off", theirs.Sub(after).Round(time.Second))
	}
	return "agrees with ours", nil
}

func (d Deps) migrations(ctx context.Context) (string, error) {
	is, err := postgres.Present(ctx, d.DB)
	if err != nil {
		return "", err
	}
	want, err := postgres.Newest()
	switch {
	case err != nil:
		return "", err
	case is.Before(want):
		return "", fmt.Errorf("the database has version %v, this program wants %v", is, want)
	case want.Before(is):
		return "", fmt.Errorf("the database has version %v, which is newer than this program's %v", is, want)
	}
	return fmt.Sprintf("version %v", is), nil
}

func (d Deps) storage(ctx context.Context, s gitaly.Storage) (string, error) {
	conn, err := d.Gitaly.Conn(s.Name)
	if err != nil {
		return "", err
	}
	info, err := gitalypb.NewServerServiceClient(conn).ServerInfo(ctx, &gitalypb.ServerInfoRequest{})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unauthenticated, codes.PermissionDenied:
		return "", fmt.Errorf("it does not take our token, or its clock is another one: %s", status.Convert(err).Message())
	default:
		return "", fmt.Errorf("%s: %s", s.Address, status.Convert(err).Message())
	}
	for _, st := range info.GetStorageStatuses() {
		if st.GetStorageName() == s.Name {
			if !st.GetReadable() || !st.GetWriteable() {
				return "", fmt.Errorf("readable %v, writable %v", st.GetReadable(), st.GetWriteable())
			}
			return fmt.Sprintf("git %s, writable", info.GetGitVersion()), oldGit(info.GetGitVersion())
		}
	}
	return "", fmt.Errorf("the server at %s has no storage of this name", s.Address)
}

// oldGit is the error of a git that gitaly does not know how to use.
func oldGit(version string) error {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("git's version %q cannot be read: %w", version, err)
	}
	if major < 2 || major == 2 && minor < 39 {
		return fmt.Errorf("git %s is too old; 2.39 is the oldest that works", version)
	}
	return nil
}

// least is the share of a file system, in percent, that must be left.
const least = 5

func (d Deps) space(ctx context.Context, s gitaly.Storage) (string, error) {
	conn, err := d.Gitaly.Conn(s.Name)
	if err != nil {
		return "", err
	}
	answer, err := gitalypb.NewServerServiceClient(conn).DiskStatistics(ctx, &gitalypb.DiskStatisticsRequest{})
	if err != nil {
		return "", errors.New(status.Convert(err).Message())
	}
	for _, st := range answer.GetStorageStatuses() {
		if st.GetStorageName() != s.Name {
			continue
		}
		total := st.GetAvailable() + st.GetUsed()
		text := fmt.Sprintf("%.1f GiB free of %.1f GiB", float64(st.GetAvailable())/(1<<30), float64(total)/(1<<30))
		if st.GetAvailable()*100 < total*least {
			return "", errors.New(text)
		}
		return text, nil
	}
	return "", errors.New("the server has no storage of this name")
}

// objects stores a small file and takes it away again.
func (d Deps) objects(ctx context.Context) (string, error) {
	const content = "gitsplit doctor\n"
	key := storage.NewKey("doctor")
	if err := d.Files.Put(ctx, key, strings.NewReader(content)); err != nil {
		return "", err
	}
	r, err := d.Files.Open(ctx, key)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err == nil && string(text) != content {
			err = errors.New("what was stored comes back as something else")
		}
	}
	return "a file was stored, read and removed", errors.Join(err, d.Files.Delete(ctx, key))
}

// errUnwell says that something is not well; what, has been shown.
var errUnwell = errors.New("not everything is well")

// Show writes a line for each finding, and its remedy below.
func Show(w io.Writer, list []Finding) error {
	var text strings.Builder
	bad := 0
	for _, f := range list {
		word := "ok  "
		if !f.OK {
			word, bad = "FAIL", bad+1
		}
		_, _ = fmt.Fprintf(&text, "%s  %-28s %s\n", word, f.Check, f.Detail)
		if !f.OK {
			_, _ = fmt.Fprintf(&text, "      %-28s → %s\n", "", f.Remedy)
		}
	}
	_, err := io.WriteString(w, text.String())
	if bad > 0 {
		err = errors.Join(fmt.Errorf("%w: %d of %d", errUnwell, bad, len(list)), err)
	}
	return err
}
