// Package attachment keeps the files that people attach to the texts of a project.
// Who knows the address of one still needs the right to see the project.
package attachment

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/storage"
	"gitsplit/services/rails-api/internal/uploaded"
)

// Attachment is one file of a project.
type Attachment struct {
	ID        int64
	ProjectID int64
	Secret    string // 32 hexadecimal digits
	Name      string
	Size      int64 // bytes
	CreatedAt time.Time
}

// Key is where the content lies.
func (a Attachment) Key() string {
	return "attachments/" + strconv.FormatInt(a.ProjectID, 10) + "/" + a.Secret
}

// Path is the address in texts of the project.
func (a Attachment) Path() string { return "/uploads/" + a.Secret + "/" + a.Name }

// FullPath is the address on this site.
func (a Attachment) FullPath() string {
	return "/-/project/" + strconv.FormatInt(a.ProjectID, 10) + a.Path()
}

// shown are the kinds of files that texts show instead of naming.
const shown = ".png .jpg .jpeg .gif .bmp .tiff .ico .webp .mp4 .m4v .mov .webm .ogv .mp3 .oga .ogg .spx .wav "

// Alt is the text in place of the file, without what could end it in Markdown.
func (a Attachment) Alt() string {
	name := a.Name
	if a.isShown() {
		name = strings.TrimSuffix(name, path.Ext(name))
	}
	return strings.ReplaceAll(name, "]", `\]`)
}

// Markdown is what refers to the file in a text.
func (a Attachment) Markdown() string {
	link := "[" + a.Alt() + "](" + a.Path() + ")"
	if a.isShown() {
		return "!" + link
	}
	return link
}

func (a Attachment) isShown() bool {
	ext := strings.ToLower(path.Ext(a.Name))
	return ext != "" && ext != a.Name && strings.Contains(shown, ext+" ")
}

// Store keeps attachments.
type Store struct {
	db    postgres.DBTX
	files *storage.Store
}

// New returns a Store on a pool.
func New(db postgres.DBTX, files *storage.Store) *Store { return &Store{db: db, files: files} }

const (
	what    = "attachment"
	columns = "id, project_id, secret, name, size, created_at"
)

func scan(row pgx.CollectableRow) (Attachment, error) {
	var a Attachment
	err := row.Scan(&a.ID, &a.ProjectID, &a.Secret, &a.Name, &a.Size, &a.CreatedAt)
	return a, err
}

// Create keeps an upload. The row comes first: a file without one would stay for
// ever.
func (s *Store) Create(ctx context.Context, projectID, userID int64, f uploaded.File) (Attachment, error) {
	const insert = `INSERT INTO attachments (project_id, user_id, secret, name, size) VALUES ($1, $2, $3, $4, $5) RETURNING ` + columns
	a, err := postgres.One(ctx, s.db, what, scan, insert, projectID, userID, newSecret(), cleanName(f.Name), f.Size)
	if err != nil {
		return a, err
	}
	if err := s.files.Keep(ctx, f, a.Key()); err != nil {
		const patience = 10 * time.Second
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience) // also for a client that left
		defer cancel()
		return a, errors.Join(err, postgres.Exec(ctx, s.db, what, "DELETE FROM attachments WHERE id = $1", a.ID))
	}
	return a, nil
}

// Find returns the attachment of a project with this secret and name,
// errs.NotFound if there is none.
func (s *Store) Find(ctx context.Context, projectID int64, secret, name string) (Attachment, error) {
	const query = "SELECT " + columns + " FROM attachments WHERE project_id = $1 AND secret = $2 AND name = $3"
	return postgres.One(ctx, s.db, what, scan, query, projectID, secret, name)
}

// Files removes stored files; storage.Store does.
type Files interface {
	Delete(ctx context.Context, key string) error
}

// RemoveWithdrawn removes the files of a project that is withdrawn, and nothing of
// any other. It may be repeated.
func RemoveWithdrawn(ctx context.Context, db postgres.DBTX, files Files, projectID int64) error {
	const query = `
		SELECT a.id, a.project_id, a.secret, a.name, a.size, a.created_at FROM attachments a JOIN projects p ON p.id = a.project_id
		WHERE p.id = $1 AND p.state <> 'ready' ORDER BY a.id LIMIT 500`
	for {
		batch, err := postgres.All(ctx, db, what, scan, query, projectID)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, a := range batch {
			if err := files.Delete(ctx, a.Key()); err != nil {
				return fmt.Errorf("attachment %d: %w", a.ID, err)
			}
			if err := postgres.Exec(ctx, db, what, "DELETE FROM attachments WHERE id = $1", a.ID); err != nil {
				return err
			}
		}
	}
}

func newSecret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// cleanName makes of any file name one that is a segment of an address and means
// nothing in Markdown's links: letters, digits and "-_.+@" stay.
func cleanName(name string) string {
	const most = 255
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.+@", r) {
			return r
		}
		return '_'
	}, strings.ToValidUTF8(name, "_"))
	for len(name) > most { // the end tells the kind
		_, n := utf8.DecodeRuneInString(name)
		name = name[n:]
	}
	if strings.Trim(name, ".") == "" {
		return "_" + name[min(len(name), 1):]
	}
	return name
}
